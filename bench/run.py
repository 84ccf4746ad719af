"""Run every benchmark, one process each: `make bench`."""

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
NOT_BENCHMARKS = {"run.py", "report.py", "soak.py", "fuzz.py"}

if __name__ == "__main__":
    for script in sorted(HERE.glob("*.py")):
        if script.name not in NOT_BENCHMARKS:
            print(f"== {script.name}", flush=True)
            subprocess.run([sys.executable, str(script)], check=True)
