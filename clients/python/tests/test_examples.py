"""The examples run as they are written."""

from __future__ import annotations

import os
import pathlib
import re
import runpy
import subprocess
import sys
import unittest
from unittest import mock

import sluice
from fake_server import GPU, FakeServer

HERE = pathlib.Path(__file__).resolve().parent.parent


class Examples(unittest.TestCase):
    def setUp(self) -> None:
        self.server = FakeServer().__enter__()
        self.addCleanup(self.server.__exit__)

    def run_example(self, name: str) -> str:
        command = [sys.executable, str(HERE / "examples" / name)]
        environment = {**os.environ, "SLUICE_ADDRESS": self.server.address}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def test_the_one_in_the_readme_is_at_most_10_lines_and_runs_as_written(self) -> None:
        written = re.search(r"```python\n(.*?)```", (HERE / "README.md").read_text(), re.S)
        assert written is not None
        self.assertEqual(written[1], (HERE / "examples" / "first.py").read_text())
        self.assertLessEqual(len(written[1].splitlines()), 10)
        self.assertEqual(self.run_example("first.py"), f"GPU 0 is ours: {GPU}\ngiven back\n")
        self.assertEqual(self.server.released, ["lease-1"])

    def test_the_task_of_a_pipeline_gives_its_child_the_lease_and_asks_by_its_own_id(self) -> None:
        self.assertEqual(self.run_example("pipeline_task.py"), f"on {GPU}\n")
        self.assertEqual(self.server.waits[0].request_id, "transcribe-by-hand")
        task = runpy.run_path(str(HERE / "examples" / "pipeline_task.py"))
        self.assertFalse(task["is_worth_another_try"](sluice.NeverFits("no")))
        self.assertTrue(task["is_worth_another_try"](sluice.QueueFull("full")))

    def test_the_one_with_pytorch_trains_inside_of_the_lease(self) -> None:
        """PyTorch itself is stood in for: what is tested is the order of things."""
        seen: list[str] = []
        torch = mock.MagicMock()
        torch.cuda.is_available.side_effect = lambda: bool(seen.append(os.environ.get("CUDA_VISIBLE_DEVICES", "")) or True)
        torch.cuda.is_initialized.return_value = False
        model = torch.nn.Linear.return_value.to.return_value
        model.return_value.__sub__.return_value.pow.return_value.mean.return_value.item.return_value = 0.5
        with mock.patch.dict("sys.modules", {"torch": torch}), mock.patch.dict(os.environ, {"SLUICE_ADDRESS": self.server.address}):
            with mock.patch("builtins.print"):
                runpy.run_path(str(HERE / "examples" / "train_torch.py"), run_name="__main__")
        self.assertEqual(seen, [GPU])
        self.assertEqual(self.server.released, ["lease-1"])


if __name__ == "__main__":
    unittest.main()
