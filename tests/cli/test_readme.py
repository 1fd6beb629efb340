"""The examples in README.md and the job script run."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parents[2] / "README.md"


@pytest.mark.slow
def test_the_examples_in_the_readme_run(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 5
    assert len(blocks[0].strip().splitlines()) == 12
    for code in blocks:
        exec(compile(code, "README.md", "exec"), {"__name__": "__main__"})
    printed = capsys.readouterr().out
    assert "stable (band 1e-08)" in printed
    assert "global minimum" in printed
    assert (tmp_path / "sweep-8-8.nc").exists()


def test_the_example_without_sampling_runs(capsys):
    code = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)[1]
    exec(compile(code, "README.md", "exec"), {"__name__": "__main__"})
    assert "stable (band 1e-08)" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_the_job_script_for_slurm_fills_a_folder_and_prints_its_table(tmp_path):
    own = Path(sys.executable).parent  # whose python3 has this package
    more = {"PAIRS": "2,2", "SEEDS": "200", "OUT": "out", "PATH": f"{own}:{os.environ['PATH']}"}
    script = ["bash", str(README.parent / "docs" / "table3_slurm.sh")]

    def run(**variables: str) -> str:
        done = subprocess.run(
            script, cwd=tmp_path, env=os.environ | more | variables, capture_output=True, check=True
        )
        return done.stdout.decode()

    assert "128 seeds of share 1/16 were missing" in run(SLURM_ARRAY_TASK_ID="1")
    assert "200 seeds" in run()
    files = {path.name for path in (tmp_path / "out" / "K2-M2").glob("seeds-*")}
    assert files == {"seeds-00000000-00000127.npz", "seeds-00000128-00000199.npz"}
