#!/bin/bash
# Molecular dynamics that fluctuates as the crystal's B-factors say, and its modes, by GROMACS:
# PDB -> topology (OPLS-AA/L) -> box -> water -> ions -> minimised -> equilibrated with position
# restraints -> free dynamics -> restraints from its fluctuations -> restrained dynamics -> modes.
#     bash restrained-md.sh 6o2h.pdb 0      # free dynamics only
#     bash restrained-md.sh 6o2h.pdb 1      # and one restrained pass, scaled
#     bash restrained-md.sh 6o2h.pdb 4      # the restraints corrected after each of four passes
# Run it again to go on where it stopped: what is done is not repeated, a simulation goes on from
# its checkpoint. Settings are variables: PRODUCTION_PS=20000 THREADS=16 bash restrained-md.sh ...
# On a cluster: restrained-md.sbatch, which uses the same steps. Codes: 65 something is not here,
# 70 a step failed, 75 stopped at MAX_HOURS or by a signal: run again, 78 the folder is of other
# settings.

settings() {
    FOLDER=${FOLDER:-restrained-md}       # everything lies here
    export GMX_MAXBACKUP=-1               # files are replaced, not kept under #names#
    GMX=${GMX:-gmx}                       # GROMACS 2021 or later
    THREADS=${THREADS:-$(nproc)}
    MDRUN=${MDRUN:-$GMX mdrun -ntmpi 1 -ntomp $THREADS}
    MAX_HOURS=${MAX_HOURS:--1}            # in all: then a simulation stops, and this with code 75
    FORCE_FIELD=${FORCE_FIELD:-oplsaa} WATER=${WATER:-tip3p}
    CONFORMER=${CONFORMER:-A}             # of alternates
    MARGIN_NM=${MARGIN_NM:-1.0}           # water around the protein, in a dodecahedron
    SALT_M=${SALT_M:-0.1}                 # mol/l of NaCl, beside what neutralises
    TEMPERATURE=${TEMPERATURE:-300}       # K
    TIMESTEP_FS=${TIMESTEP_FS:-2}         # above 2, up to 4: heavy hydrogens, rigid bonds
    MINIMISE_STEPS=${MINIMISE_STEPS:-5000}
    EQUILIBRATE_PS=${EQUILIBRATE_PS:-200} # at constant volume, the same at constant pressure
    PRODUCTION_PS=${PRODUCTION_PS:-10000} # free, and of each restrained pass
    FRAME_PS=${FRAME_PS:-10}              # between frames that are kept
    SCALE=${SCALE:-0.005}                 # of hpc-diffuser restraints: 1/200
    MODES=${MODES:-20}
}

# What results depend on: a folder holds those of one choice.
recorded() {
    local name
    for name in FORCE_FIELD WATER CONFORMER MARGIN_NM SALT_M TEMPERATURE TIMESTEP_FS \
        MINIMISE_STEPS EQUILIBRATE_PS PRODUCTION_PS FRAME_PS SCALE MODES; do
        echo "$name=${!name}"
    done
    echo "sha256 $(sha256sum < "$REFERENCE")"
}

require() {
    local word
    for word in "$GMX" hpc-diffuser; do
        command -v "$word" > /dev/null && continue
        echo "$word is not here: install it or load its module (GROMACS: apt-get install gromacs," \
            "or GMX=gmx_mpi), then run the same command again" >&2
        exit 65
    done
    [ -r "$REFERENCE" ] || { echo "$REFERENCE: no such file: give the crystal's PDB file" >&2; exit 65; }
    if [ -e "$FOLDER/settings" ] && ! diff "$FOLDER/settings" <(recorded) >&2; then
        echo "$FOLDER was begun with other settings (<), now they are (>): give these back, or" \
            "another FOLDER" >&2
        exit 78
    fi
}

# step NAME COMMAND...: run it, unless it is done; its output goes to NAME.out, what it tells to NAME.err.
step() {
    local name=$1 code said
    shift
    [ -e "$name.done" ] && return
    echo "$(date +%T) $name"
    "$@" > "$name.out" 2> "$name.err"
    code=$?
    [ $code -eq 75 ] && { echo "$name: stopped before its end; run again to go on"; exit 75; }
    if [ $code -ne 0 ]; then
        {
            said=$name.err
            [ -s "$said" ] || said=$name.out
            echo "step $name failed with code $code; the end of $PWD/$said:"
            tail -n 30 "$said"
            echo "mend the cause, then run the same command again: what is done is not repeated"
        } >&2
        exit 70
    fi
    touch "$name.done"
}

long_steps() { awk "BEGIN {exit !($TIMESTEP_FS > 2)}"; }

# One conformer of the protein's heavy atoms: pdb2gmx adds hydrogens.
protein() {
    awk -v conformer="$CONFORMER" '/^ENDMDL/ {exit} /^TER/ {print}
        /^ATOM/ {alternate = substr($0, 17, 1); element = substr($0, 77, 2)
            if ((alternate == " " || alternate == conformer) && element !~ /^ *[HD] *$/)
                print substr($0, 1, 16) " " substr($0, 18)}' "$REFERENCE" > protein.pdb
    grep -q ^ATOM protein.pdb
}

topology() {
    local heavy=()
    long_steps && heavy=(-heavyh)
    "$GMX" pdb2gmx -f protein.pdb -o protein.gro -p topol.top -i posre.itp \
        -ff "$FORCE_FIELD" -water "$WATER" -ignh "${heavy[@]}" || return
    # Beside pdb2gmx's own restraints a place for those that are made from B-factors.
    sed -i -E '/^#include "posre[^"]*\.itp"/ {
        h; n
        p; x; s/posre/restraints/
        s/^(.*)$/#ifdef RESTRAINED\n\1\n#endif/
    }' topol*.top topol*.itp 2> /dev/null
    grep -q RESTRAINED topol*
}

box() { "$GMX" editconf -f protein.gro -o box.gro -bt dodecahedron -d "$MARGIN_NM"; }

water() {
    cp topol.top dry.top
    local model=spc216.gro
    [[ $WATER == tip4p* ]] && model=tip4p.gro
    "$GMX" solvate -cp box.gro -cs $model -p dry.top -o wet.gro
}

ions() {
    cp dry.top system.top
    echo "integrator = steep" > ions.mdp
    "$GMX" grompp -f ions.mdp -c wet.gro -p dry.top -o ions.tpr -maxwarn 1 || return # of the charge
    echo SOL | "$GMX" genion -s ions.tpr -p system.top -o system.gro -neutral -conc "$SALT_M" \
        -pname NA -nname CL
}

# mdp PS LINES...: parameters of a simulation that long.
mdp() {
    local steps frames energies rigid="constraints = h-bonds"
    # Beside heavy hydrogens carbons are light, and their bonds too fast for a long step.
    long_steps && rigid=$'constraints = all-bonds\nlincs-order = 6'
    steps=$(awk "BEGIN {printf \"%d\", $1 * 1000 / $TIMESTEP_FS + 0.5}")
    frames=$(awk "BEGIN {printf \"%d\", $FRAME_PS * 1000 / $TIMESTEP_FS + 0.5}")
    energies=$(((frames + 99) / 100 * 100)) # grompp refuses others: they are computed every 100 steps
    shift
    cat << END
integrator = md
dt = $(awk "BEGIN {print $TIMESTEP_FS / 1000}")
nsteps = $steps
nstxout-compressed = $frames
compressed-x-grps = Protein
nstenergy = $energies
nstlog = $energies
$rigid
coulombtype = PME
rcoulomb = 1.0
rvdw = 1.0
DispCorr = EnerPres
tcoupl = V-rescale
tc-grps = Protein Non-Protein
tau_t = 0.5 0.5
ref_t = $TEMPERATURE $TEMPERATURE
refcoord_scaling = com
END
    printf '%s\n' "$@"
}

# Of restrained ones: what is held in its place must not be moved back as a whole as well.
HELD="comm-mode = none"
PRESSURE=("pcoupl = C-rescale" "tau_p = 2" "ref_p = 1" "compressibility = 4.5e-5")

# prepare NAME GROMPP-OPTIONS...: NAME.tpr of NAME.mdp. Restraints are about the crystal's positions.
prepare() {
    local name=$1
    shift
    "$GMX" grompp -f "$name.mdp" -p ../system/system.top -r ../system/system.gro \
        -o "$name.tpr" -po "$name.out.mdp" "$@"
}

# simulate NAME: from its checkpoint, if there is one; code 75 where it is not at its end.
simulate() {
    local name=$1 code asked reached left=-1
    if [ "$MAX_HOURS" != -1 ]; then
        left=$(awk "BEGIN {print $MAX_HOURS - $SECONDS / 3600}")
        [[ $left == -* || $left == 0 ]] && return 75
    fi
    $MDRUN -deffnm "$name" -cpi "$name.cpt" -maxh "$left"
    code=$?
    # A signal makes it write a checkpoint, and end with a code that tells nothing.
    if [ $code -ne 0 ]; then
        grep -q '^Received the .* signal, stopping' "$name.err" && return 75
        return $code
    fi
    asked=$(awk '$1 == "nsteps" {print $3}' "$name.mdp")
    grep -q '^integrator = steep' "$name.mdp" && return
    reached=$("$GMX" dump -cp "$name.cpt" 2> /dev/null | awk '$1 == "step" {print $3; exit}')
    [ "$reached" -ge "$asked" ] || return 75
}

minimise() {
    printf '%s\n' "integrator = steep" "nsteps = $MINIMISE_STEPS" "emtol = 500" \
        "coulombtype = PME" > minimise.mdp
    prepare minimise -c ../system/system.gro && simulate minimise
}

# run_md NAME START PS LINES...: a simulation from START.gro (and START.cpt, if there is one).
run_md() {
    local name=$1 start=$2 checkpoint=()
    [ -e "$start.cpt" ] && checkpoint=(-t "$start.cpt")
    mdp "${@:3}" > "$name.mdp"
    # A simulation that has begun goes on with the .tpr it has begun with.
    [ -e "$name.cpt" ] || prepare "$name" -c "$start.gro" "${checkpoint[@]}" || return
    simulate "$name"
}

modes() {
    hpc-diffuser modes --trajectory production.xtc --topology ../system/protein.gro \
        --reference "$REFERENCE" --conformer "$CONFORMER" --n-modes "$MODES" -o modes.h5
}

# restraints FOLDER [--previous TABLE]: from the production that lies there.
restraints() {
    hpc-diffuser restraints --trajectory "$1/production.xtc" --topology ../system/protein.gro \
        --reference "$REFERENCE" --conformer "$CONFORMER" --gromacs ../system/topol.top \
        --temperature "$TEMPERATURE" --scale "$SCALE" -o restraints.csv "${@:2}"
}

enter() { mkdir -p "$1" && cd "$1" || exit 74; }

build_system() {
    enter "$FOLDER/system"
    step protein protein
    step topology topology
    step box box
    step water water
    step ions ions
}

free_dynamics() {
    enter "$FOLDER/free"
    step minimise minimise
    step volume run_md volume minimise "$EQUILIBRATE_PS" "define = -DPOSRES" "$HELD" \
        "gen_vel = yes" "gen_temp = $TEMPERATURE" "gen_seed = 1"
    step pressure run_md pressure volume "$EQUILIBRATE_PS" "define = -DPOSRES" "$HELD" \
        "${PRESSURE[@]}"
    step production run_md production pressure "$PRODUCTION_PS" "${PRESSURE[@]}"
    step modes modes
}

# restrained_pass N: from the fluctuations of the pass before; pass 0 is the free dynamics.
restrained_pass() {
    local before=../free previous=() define
    if [ "$1" -gt 1 ]; then
        before=../restrained-$(($1 - 1))
        previous=(--previous "$before/restraints.csv")
    fi
    enter "$FOLDER/restrained-$1"
    define=("define = -DRESTRAINED" "include = -I$PWD" "$HELD")
    step restraints restraints "$before" "${previous[@]}"
    step equilibrate run_md equilibrate ../free/pressure "$EQUILIBRATE_PS" "${define[@]}" \
        "${PRESSURE[@]}"
    step production run_md production equilibrate "$PRODUCTION_PS" "${define[@]}" "${PRESSURE[@]}"
    step modes modes
    grep -E '^ +mean|^crystal|^trajectory|atoms are restrained' restraints.out || true
}

main() {
    REFERENCE=$(realpath -m "${1:?give the PDB file of the crystal, and how many restrained passes}")
    local passes=${2:-1} pass
    settings
    require
    mkdir -p "$FOLDER" && FOLDER=$(realpath "$FOLDER") || exit 74
    recorded > "$FOLDER/settings" || exit 74
    (build_system) || exit
    (free_dynamics) || exit
    for ((pass = 1; pass <= passes; pass++)); do
        (restrained_pass $pass) || exit
    done
    echo "done: modes.h5 in the folders of $FOLDER"
}

# As a program; a job script that reads it in calls main itself.
[ "${BASH_SOURCE[0]}" != "$0" ] || main "$@"
