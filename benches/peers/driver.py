"""Runs the same weights and inputs through every engine and prints one table; see README.md."""

import argparse
import datetime
import functools
import json
import os
import platform
import queue
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
# Largest accepted error as a share of the reference's range: the maximum for f32, the root mean square for f16.
TOLERANCE = {"f32": 1e-4, "f16": 5e-3}
# An f16 result closer to the reference than this was not computed in f16.
TOO_EXACT = 1e-5
# Seconds for preparation (including compiling), and for one run.
PATIENCE = 900


@dataclass
class Kind:
    """An engine before it meets an adapter."""

    name: str
    command: list
    where: str  # cpu, vulkan (one process for each adapter) or cuda
    wheels: list = field(default_factory=list)
    precisions: tuple = ("f32", "f16")


def kinds(prepared):
    def python(script, mode=None):
        return [sys.executable, str(HERE / "engines" / f"{script}_engine.py"), mode]

    def rust(name):
        return [str(prepared / "bin" / f"peer-{name}")]

    return [
        Kind("unet-cpu", rust("unet"), "cpu", precisions=("f32",)),
        Kind("unet-gpu", rust("unet"), "vulkan"),
        Kind("ncnn-cpu", python("ncnn"), "cpu", ["ncnn"], ("f32",)),
        Kind("ncnn-vulkan", python("ncnn"), "vulkan", ["ncnn"]),
        Kind("ort-cpu", python("ort", "cpu"), "cpu", ["onnxruntime"], ("f32",)),
        Kind("ort-webgpu", python("ort", "webgpu"), "vulkan", ["onnxruntime_webgpu"]),
        Kind("ort-webgpu-plugin", python("ort", "plugin"), "vulkan", ["onnxruntime", "onnxruntime_ep_webgpu"]),
        Kind("burn-wgsl", rust("burn-wgsl"), "vulkan"),
        Kind("burn-spirv", rust("burn-spirv"), "vulkan"),
        Kind("torch-cpu", python("torch", "cpu"), "cpu", precisions=("f32",)),
        Kind("torch-cuda", python("torch", "eager"), "cuda"),
        Kind("torch-compile", python("torch", "compile"), "cuda"),
        Kind("tensorrt", python("tensorrt"), "cuda"),
    ]


class Engine:
    """A living process that runs when asked."""

    def __init__(self, kind, precision, adapter, environment, files, cores):
        self.kind, self.precision, self.adapter = kind, precision, adapter
        self.info, self.reason, self.first, self.times, self.others, self.runs = {}, None, None, [], [], 0
        mode = [kind.command[2]] if len(kind.command) > 2 and kind.command[2] else []
        command = kind.command[:2] + [*files, precision, adapter] + mode
        self.log = tempfile.TemporaryFile("w+")
        # CPU engines, and adapters that are the CPU, get as many cores as threads.
        pin = functools.partial(os.sched_setaffinity, 0, cores) if cores else None
        try:
            self.process = subprocess.Popen(
                command, text=True, bufsize=1, env=os.environ | environment, preexec_fn=pin,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log,
            )
        except OSError as error:
            self.process, self.reason = None, f"{Path(command[0]).name} was not prepared: {error.strerror}"
            return
        self.lines = queue.Queue()
        threading.Thread(target=self.listen, daemon=True).start()
        word, rest = self.answer()
        if word == "ready":
            self.info = json.loads(rest)
        else:
            self.reason = rest
            self.log.seek(0)
            sys.stderr.writelines(list(self.log)[-8:])

    def listen(self):
        for line in self.process.stdout:
            self.lines.put(line.strip())
        self.lines.put(None)

    def answer(self):
        """The next line of the conversation as (word, rest); `absent` when there is none."""
        while True:
            try:
                line = self.lines.get(timeout=PATIENCE)
            except queue.Empty:
                self.process.kill()
                return "absent", f"no answer in {PATIENCE} s"
            if line is None:
                self.log.seek(0)
                errors = [text.strip() for text in self.log if text.strip()]
                code = self.process.wait()
                how = signal.Signals(-code).name if code < 0 else f"code {code}"
                return "absent", f"ended with {how}: {' '.join(errors[-3:])[-300:] or 'said nothing'}"
            word, _, rest = line.partition(" ")
            if word in ("ready", "absent", "ms", "saved"):
                return word, rest

    def ask(self, line):
        try:
            print(line, file=self.process.stdin, flush=True)
        except OSError:
            pass
        word, rest = self.answer()
        if word == "absent":
            self.reason = rest
        return rest

    def run(self):
        rest = self.ask("run")
        return None if self.reason else float(rest)

    def timed_run(self):
        """A run, and how many cores other processes kept busy meanwhile."""
        own, everything, start = cpu_seconds(self.process.pid), cpu_seconds(), time.monotonic()
        self.times.append(self.run())
        if not self.reason:
            wall, busy = time.monotonic() - start, cpu_seconds() - everything
            self.others.append(round(max(0.0, busy - cpu_seconds(self.process.pid) + own) / wall, 2))

    def output(self, folder):
        path = folder / "output.bin"
        self.ask(f"save {path}")
        return None if self.reason else np.fromfile(path, np.float32)

    def check(self, reference, folder):
        """Compares the last output with the reference; a wrong one is a reason not to time it."""
        output = self.output(folder)
        if self.reason:
            return
        if output.shape != reference.shape or not np.isfinite(output).all():
            self.reason = "WRONG OUTPUT: another size, or not finite"
            return
        span, difference = np.ptp(reference), np.abs(output.astype(np.float64) - reference)
        self.maximum, self.nrmse = float(difference.max() / span), float(np.sqrt((difference**2).mean()) / span)
        error = self.maximum if self.precision == "f32" else self.nrmse
        if error > TOLERANCE[self.precision]:
            self.reason = f"WRONG OUTPUT: max {self.maximum:.1e}, NRMSE {self.nrmse:.1e} of the range"
        elif self.precision == "f16" and error < TOO_EXACT:
            self.reason = f"NRMSE {self.nrmse:.1e}: it silently computed in f32"

    def end(self):
        if self.process is None:
            return
        self.process.stdin.close()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()

    def json(self):
        result = {"engine": self.kind.name, "adapter": self.adapter, "precision": self.precision} | self.info
        if self.reason:
            return result | {"absent": self.reason}
        result |= {"max_error": self.maximum, "nrmse": self.nrmse, "first_ms": self.first, "ms": self.times}
        result["others_busy_cores"] = self.others
        spread = {"median_ms": statistics.median(self.times), "min_ms": min(self.times), "max_ms": max(self.times)}
        return result | spread


def cpu_seconds(process=None):
    """CPU time of a process, or of the machine."""
    if process:
        ticks = sum(map(int, Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[11:13]))
    else:
        user, nice, system, _, _, *interrupts = map(int, open("/proc/stat").readline().split()[1:9])
        ticks = user + nice + system + sum(interrupts)
    return ticks / os.sysconf("SC_CLK_TCK")


def drivers(given):
    """The Vulkan driver files to look through: those given, else the environment's, else the system's."""
    if not given and (text := os.environ.get("VK_DRIVER_FILES") or os.environ.get("VK_ICD_FILENAMES")):
        given = text.split(":")
    folders = ["/etc", "/usr/local/share", "/usr/share"]
    found = given or [str(f) for d in folders for f in sorted(Path(d, "vulkan/icd.d").glob("*.json"))]
    return [str(Path(file).resolve()) for file in found if "i686" not in file]


def adapters(unet, given):
    """Every adapter as (environment that leaves only its driver, its report)."""
    seen = {}
    for file in drivers(given):
        environment = {"VK_DRIVER_FILES": file, "VK_ICD_FILENAMES": file}
        listed = subprocess.run([unet, "--list"], env=os.environ | environment, capture_output=True, text=True)
        for report in json.loads(listed.stdout or "[]"):
            seen.setdefault(report["name"], (environment, report))
    return list(seen.values())


def machine(commit):
    def line(command):
        try:
            return subprocess.run(command, capture_output=True, text=True).stdout.strip() or None
        except OSError:
            return None

    cpu = [text.split(":")[1].strip() for text in open("/proc/cpuinfo") if text.startswith("model name")]
    return {
        "cpu": cpu[0] if cpu else platform.processor(), "cores": len(os.sched_getaffinity(0)),
        "kernel": platform.release(), "python": platform.python_version(),
        "nvidia": line(["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]),
        "unet_wgpu": commit.read_text().strip() if commit.exists() else None,
    }


def row(engine):
    start = [engine.kind.name, engine.adapter[:36], engine.precision]
    if engine.reason:
        return start, engine.reason
    t = engine.times
    cells = [f"{statistics.median(t):.2f}", f"{min(t):.2f}", f"{max(t):.2f}", len(t), f"{engine.first:.0f}"]
    return start + cells + [f"{engine.maximum:.1e}", f"{engine.nrmse:.1e}"], None


def table(engines):
    head = ["engine", "adapter", "", "median ms", "min", "max", "runs", "first ms", "max err", "NRMSE"]
    rows = [row(engine) for engine in engines]
    timed = [head] + [cells for cells, reason in rows if reason is None]
    widths = [max(len(str(cells[i])) for cells in timed) for i in range(len(head))]
    for cells in timed:
        print("  ".join(str(c).ljust(w) if i < 3 else str(c).rjust(w) for i, (c, w) in enumerate(zip(cells, widths))))
    for (name, adapter, precision), reason in ((cells, reason) for cells, reason in rows if reason):
        print(f"not timed: {name} {precision} on {adapter}: {reason}")


def start(options, folder):
    """Starts everything that was asked for, the reference first; says to stderr how it goes."""
    models, n = options.prepared / "models", options.size
    data = np.random.default_rng(2026).uniform(-1, 1, (1, 3, n, n)).astype(np.float32)
    data.tofile(folder / "input.bin")
    files = [str(models / "weights.safetensors"), str(folder / "input.bin"), str(n)]
    threads = str(options.threads)
    base = {name: threads for name in ["PEERS_THREADS", "OMP_NUM_THREADS", "RAYON_NUM_THREADS"]}
    # Mesa complains if this is missing.
    base |= {"XDG_RUNTIME_DIR": os.environ.get("XDG_RUNTIME_DIR", str(folder))}
    cores = sorted(os.sched_getaffinity(0))[: options.threads]
    all_kinds = kinds(options.prepared)
    found = adapters(all_kinds[0].command[0], options.icd)
    found = [(e, r) for e, r in found if not options.adapter or options.adapter.lower() in r["name"].lower()]

    def launch(kind, precision, adapter, environment, cores):
        site = os.pathsep.join(str(options.prepared / "site" / wheel) for wheel in kind.wheels)
        environment = base | environment | ({"PYTHONPATH": site} if site else {})
        engine = Engine(kind, precision, adapter, environment, files, cores)
        engine.first = None if engine.reason else engine.run()
        print(f"{kind.name} {precision} on {adapter}: {engine.reason or f'first run {engine.first:.0f} ms'}", file=sys.stderr)
        return engine

    reference = launch(all_kinds[0], "f32", "cpu", {}, cores)
    if reference.reason:
        sys.exit(f"no reference: {reference.reason}")
    engines = []
    for kind in all_kinds:
        if options.engines and kind.name not in options.engines:
            continue
        places = {"cpu": [("cpu", {}, cores)], "cuda": [("cuda", {}, None)]}.get(kind.where)
        if places is None:
            places = [(r["name"], e, cores if r["software"] else None) for e, r in found]
        for precision in options.precision:
            if precision not in kind.precisions:
                continue
            for adapter, environment, pinned in places:
                known = kind.name == "unet-cpu"
                engines.append(reference if known else launch(kind, precision, adapter, environment, pinned))
    return reference, engines, [report for _, report in found]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=128, help="height and width, a multiple of 16")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--precision", type=lambda t: t.split(","), default=["f32"], help="f32, f16 or f32,f16")
    parser.add_argument("--engines", type=lambda t: t.split(","), help="names, with commas between; default all")
    parser.add_argument("--adapter", help="only adapters whose name contains this; default every adapter")
    parser.add_argument("--icd", action="append", help="a Vulkan driver's ICD file instead of the system's; repeatable")
    parser.add_argument("--threads", type=int, default=2, help="of CPU engines and software adapters")
    parser.add_argument("--budget", type=float, default=120, help="seconds of timed runs an engine at most (2 runs at least)")
    parser.add_argument("--json", type=Path, help="the result file; default a new one in benches/results")
    parser.add_argument("--prepared", type=Path, required=True, help="what prepare.sh made")
    options = parser.parse_args()
    options.prepared = options.prepared.resolve()
    unknown = set(options.engines or []) - {kind.name for kind in kinds(options.prepared)}
    if unknown or set(options.precision) - set(TOLERANCE) or options.size % 16 or options.runs < 1:
        parser.error(f"unknown engine {unknown or ''}, unknown precision, or size not a multiple of 16")

    load = [os.getloadavg()]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        reference, engines, reports = start(options, folder)
        expected = reference.output(folder)
        for engine in engines:
            if not engine.reason:
                engine.check(expected, folder)
        for engine in engines:
            if not engine.reason:
                warm = engine.run()
                engine.runs = max(2, min(options.runs, int(options.budget * 1e3 / warm))) if warm else 0
        load.append(os.getloadavg())
        for turn in range(options.runs):
            for engine in engines:
                if turn < engine.runs and not engine.reason:
                    # Worker threads of the previous engine spin for a while.
                    time.sleep(0.3)
                    engine.timed_run()
        load.append(os.getloadavg())
        for engine in engines:
            if not engine.reason:
                engine.check(expected, folder)
            engine.end()
        reference.end()
    note = "" if {"f32"} == set(options.precision) else " CPU engines are timed in f32 only."
    print(f"seed preset, 1x3x{options.size}x{options.size}, host to host, {options.threads} CPU threads.{note}")
    table(engines)
    others = [busy for engine in engines for busy in engine.others]
    if others and statistics.mean(others) > 0.1:
        print(f"BUSY: other processes kept {statistics.mean(others):.1f} cores busy, which hits OpenMP engines hardest; look at min")
    today = datetime.datetime.now(datetime.timezone.utc)
    result = {
        "date": today.isoformat(timespec="seconds"), "machine": machine(options.prepared / "bin" / "commit"), "adapters": reports,
        "load_average_start_warm_end": load, "size": options.size, "threads": options.threads,
        "tolerance": TOLERANCE, "engines": [engine.json() for engine in engines],
    }
    path = options.json or HERE.parent / "results" / f"{today:%Y-%m-%d-%H%M}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(f"load average {', '.join(f'{l[0]:.1f}' for l in load)} (start, warm, end); all figures in {path.name}")


if __name__ == "__main__":
    main()
