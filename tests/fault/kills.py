"""Kills training at random moments, again and again, and lets it go on: the end must have the same bits.

usage: kills.py MOCO DRAW_FOLDER WORK COUNT [SEED]

A life is a run in a new folder, killed (SIGKILL) at a random moment, and every time that it goes on killed once more
with a chance of one half, until it ends. Its checkpoint, its model and its log without speeds must be those of a run
that nobody disturbed, and no temporary file may be left at the end.
"""

import concurrent.futures
import hashlib
import os
import random
import re
import shutil
import subprocess
import sys
import time

TRAIN = ("train images -o %s --recipe moco-cifar --arch resnet18 --width 0.0625 --size 16 --batch 4 --bn-groups 2 "
         "--queue 16 --epochs 4 --set dimension=16 --set base_lr=1 --save-every 2 --threads 2 --loader-threads 1")  # fmt: skip
MOST_KILLS = 6


def digests(folder):
    found = {}
    for name in ("checkpoint.safetensors", "model.safetensors", "log.jsonl"):
        with open(os.path.join(folder, name), "rb") as file:
            data = re.sub(rb'"images_per_second":[^,}]*', b"", file.read())
        found[name] = hashlib.sha256(data).hexdigest()
    return found


def start(moco, work, run):
    command = TRAIN % run
    log = os.path.join(work, run, "log.jsonl")
    if os.path.exists(os.path.join(work, run, "checkpoint.safetensors")):
        command += " --resume"
    elif os.path.exists(log) and os.path.getsize(log) > 0:
        os.remove(log)  # killed before its first save: there is nothing to go on from, and the program says so
    return subprocess.Popen([moco] + command.split(), cwd=work, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def life(moco, work, seconds, whole, number, seed):
    """(kills, what is wrong or None)"""
    draw = random.Random("%s %d" % (seed, number))
    run = "life%d" % number
    kills = 0
    while True:
        process = start(moco, work, run)
        if kills == 0 or (kills < MOST_KILLS and draw.random() < 0.5):
            try:
                process.wait(draw.random() * seconds)
            except subprocess.TimeoutExpired:
                process.kill()
        errors = process.communicate()[1].decode(errors="replace")
        if process.returncode == 0:
            break
        if process.returncode != -9:
            return kills, "exit code %d after %d kills: %s" % (process.returncode, kills, errors.strip()[-300:])
        kills += 1
    folder = os.path.join(work, run)
    left = [name for name in os.listdir(folder) if ".moco-part" in name]
    if left:
        return kills, "left %s after %d kills" % (", ".join(left), kills)
    if digests(folder) != whole:
        return kills, "other files after %d kills" % kills
    shutil.rmtree(folder)
    return kills, None


def main():
    moco, drawer, work, count = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2]), sys.argv[3], int(sys.argv[4])
    seed = sys.argv[5] if len(sys.argv) > 5 else "1"
    shutil.rmtree(work, ignore_errors=True)
    os.makedirs(work)
    subprocess.run([drawer, "images", "24", "3", "24", "broken"], cwd=work, check=True)
    begun = time.time()
    errors = start(moco, work, "whole").communicate()[1]
    seconds = time.time() - begun
    if not os.path.exists(os.path.join(work, "whole", "model.safetensors")):
        sys.exit("kills: the undisturbed run failed: %s" % errors.decode(errors="replace"))
    whole = digests(os.path.join(work, "whole"))
    kills, bad = 0, 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 2) as pool:
        lives = pool.map(lambda number: life(moco, work, seconds, whole, number, seed), range(count))
        for number, (some, wrong) in enumerate(lives):
            kills += some
            if wrong:
                bad += 1
                print("life %d: %s" % (number, wrong), flush=True)
    print("%d runs killed %d times and gone on: %d to other files or not to the end" % (count, kills, bad))
    sys.exit(1 if bad else 0)


main()
