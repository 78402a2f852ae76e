#!/usr/bin/env python3
"""Makes a folder of links NAME.gguf (and minilm-l6-v2/) to the installed models and prints it: what BANDMASTER_TEST_MODELS names.

usage: models-folder.py BANDMASTER FOLDER      Pulls the default band first where it is missing and can be had.
"""
import json, pathlib, subprocess, sys

bandmaster, folder = sys.argv[1], pathlib.Path(sys.argv[2]).absolute()
subprocess.run([bandmaster, "models", "pull", "default"], stdout=sys.stderr, check=False)
folder.mkdir(parents=True, exist_ok=True)
for model in json.loads(subprocess.run([bandmaster, "models", "list", "--json"], check=True, capture_output=True).stdout):
    if not model["installed"]: continue
    path = pathlib.Path(model["path"])
    link = folder / (model["name"] + ("" if path.is_dir() else ".gguf"))
    link.unlink(missing_ok=True)
    link.symlink_to(path)
print(folder)
