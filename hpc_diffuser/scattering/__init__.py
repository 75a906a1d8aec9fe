"""From moving molecules to diffuse intensity: transforms, moments, liquid-like motion, halos."""
