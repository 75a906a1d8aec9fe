"""How sure the scores of a map are, overall and by shell."""

from dataclasses import dataclass

import numpy as np

from hpc_diffuser.fit.scoring import voxel_weights
from hpc_diffuser.maps.target import Target
from hpc_diffuser.maps.zones import Resampled, Zones, error_and_interval, resampled_cc


@dataclass(frozen=True)
class CCError:
    """Of a CC, or of those of all shells (n,).

    Attributes
    ----------
    error : float or (n,) float
        Standard deviation over the resamplings; NaN where undefined.
    low, high : float or (n,) float
        Ends of the 95 % interval.
    """

    error: np.ndarray
    low: np.ndarray
    high: np.ndarray


@dataclass(frozen=True)
class CCErrors:
    """Of a map's scores over working and over free voxels.

    Attributes
    ----------
    work, free : CCError
    shells_work, shells_free : CCError
    zones_work, zones_free : int
        That were drawn from.
    resampled : Resampled
        To compare maps of one target, zone by zone.
    """

    work: CCError
    free: CCError
    shells_work: CCError
    shells_free: CCError
    zones_work: int
    zones_free: int
    resampled: Resampled


def cc_errors(
    target: Target, calculated: np.ndarray, zones: Zones, score: str, weights: str
) -> CCErrors:
    """Errors of a map's scores, by resampling Brillouin zones.

    Parameters
    ----------
    target : Target
    calculated : (V,) float
    zones : Zones
        Of the target.
    score : {"shell-mean", "pooled"}
    weights : {"none", "errors"}
    """
    found = resampled_cc(target, calculated, zones, score, voxel_weights(target, weights))
    return CCErrors(
        work=CCError(*error_and_interval(found.work)),
        free=CCError(*error_and_interval(found.free)),
        shells_work=CCError(*error_and_interval(found.shells_work)),
        shells_free=CCError(*error_and_interval(found.shells_free)),
        zones_work=int((~zones.free).sum()),
        zones_free=int(zones.free.sum()),
        resampled=found,
    )


def difference_error(one: Resampled, other: Resampled) -> tuple[CCError, CCError]:
    """Of the difference of two maps' scores, working and free.

    Parameters
    ----------
    one, other : Resampled
        The same zones were drawn for both: (B,) CC each.
    """
    work, free = one.work - other.work, one.free - other.free
    return CCError(*error_and_interval(work)), CCError(*error_and_interval(free))
