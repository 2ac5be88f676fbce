"""The notebook runs from its first cell to its last, in a process of its own, as Jupyter would run it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
NOTEBOOK = json.loads((ROOT / "docs" / "notebook.ipynb").read_text("utf-8"))

# Cells may await, like in Jupyter. Images are looked at: each must be the PNG that a page would show.
RUN = """
import ast, asyncio, json, pathlib, sys, types

def image(path, width):
    assert pathlib.Path(path).read_bytes().startswith(b"\\x89PNG"), path
    print("image", pathlib.Path(path).name)

display = types.ModuleType("IPython.display")
display.Image = image
ipython = types.ModuleType("IPython")
ipython.version_info = (9, 0)  # which matplotlib asks for
sys.modules["IPython"], sys.modules["IPython.display"] = ipython, display

async def main():
    names = {}
    for cell in json.load(sys.stdin):
        code = compile(cell, "cell", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        made = eval(code, names)
        if made is not None:
            await made
    assert names["star"].kept_promise and names["slow"].kept_promise
    assert names["slow"].play_rounds > names["star"].play_rounds
    assert names["prices"].shape[1:] == (9, 1)

asyncio.run(main())
"""


def test_the_notebook_runs(tmp_path: Path) -> None:
    cells = ["".join(cell["source"]) for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", RUN],
        input=json.dumps(cells),
        capture_output=True,
        text=True,
        timeout=100,
        cwd=tmp_path,
        env={**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    assert "image compared.png" in done.stdout
    assert "image graph.png" in done.stdout
    assert "sum of taxes" in done.stdout


def test_the_notebook_is_kept_without_outputs() -> None:
    code = [cell for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]
    assert code
    assert all(not cell["outputs"] and cell["execution_count"] is None for cell in code)
