"""The pytest plugin of `make mutants`: collect once, then fork a process for each mutant.

The parent imports and collects, but runs nothing: no library has started a thread in it, so
forking is safe, and a mutant costs no more than the tests that it takes to kill it.
"""

import inspect
import json
import os
import select
import signal
import time
from collections import Counter, defaultdict
from itertools import accumulate
from pathlib import Path

JOB = "MUTANTS_JOB"  # the variable that names the file with the job
SLOW = 2  # seconds of the processor: tests that take longer are left out
BUDGET = 8  # seconds for the tests of one mutant, the quickest first
PATIENCE = 120  # seconds that a mutant may take, asleep or on a busy machine

reports = []


def pytest_runtest_logreport(report):
    reports.append(report)


def pytest_collection_modifyitems(items):
    """Leave out JAX, which compiles for longer than other tests run, and Dask but in its own."""
    left_out = {"jax"} if any("streaming" in item.nodeid for item in items) else {"jax", "dask"}

    job = json.loads(Path(os.environ[JOB]).read_text())
    proofs = all(name.startswith("softmax_notes.symbolic") for name in job)

    def wanted(item):
        parameters, source = item.nodeid.partition("[")[2], inspect.getsource(item.function)
        if "jax" in source or any(name in parameters for name in left_out):
            return False
        return "proofs." in source or not proofs

    items[:] = [item for item in items if wanted(item)]


def pytest_runtestloop(session):
    import torch
    from mutmut.mutation.trampoline import set_mutant_under_test
    from mutmut.state import state

    at_import = set(state()._stats)
    state()._stats.clear()
    set_mutant_under_test("")
    torch.set_num_threads(1)
    path = Path(os.environ[JOB])
    job = json.loads(path.read_text())
    tests, seconds, failing = clean_run(session.items)
    killers = defaultdict(Counter)
    verdicts = {}
    for name, function in job.items():
        # First the tests that killed other mutants of the function, then the quick ones.
        reached = affordable(sorted(tests[function], key=seconds.__getitem__), seconds)
        reached.sort(key=lambda i: -killers[function][i])
        if not reached:
            verdicts[name] = "import" if function in at_import else "unreached"
            continue
        killer = in_child(first_failure, session.items, name, reached, seconds)
        verdicts[name] = killer
        if isinstance(killer, int):
            killers[function][killer] += 1
            verdicts[name] = session.items[killer].nodeid
        print(f"{len(verdicts)} of {len(job)} tried", flush=True)
    path.write_text(json.dumps({"verdicts": verdicts, "failing": failing}))
    return True


def affordable(tests, seconds):
    """Give as many tests as fit into the budget."""
    total = list(accumulate(seconds[i] for i in tests))
    return [i for i, sum_ in zip(tests, total, strict=True) if sum_ <= BUDGET]


def run(items, position, following=None):
    """Run one test; tell whether it failed."""
    reports.clear()
    item = items[position]
    following = None if following is None else items[following]
    item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
    return any(report.failed for report in reports)


def clean_run(items):
    """Run every test on the unchanged package: what each reaches, and how long it takes."""
    found = in_child(reach_of, items, patience=1200)
    if isinstance(found, str):
        raise SystemExit(f"without a mutant: {found}")
    tests = defaultdict(list)
    for position, (functions, seconds, failed) in enumerate(found):
        for function in functions:
            if seconds <= SLOW and not failed:
                tests[function].append(position)
    failing = [item.nodeid for item, test in zip(items, found, strict=True) if test[2]]
    return tests, [seconds for _, seconds, _ in found], failing


def reach_of(items):
    from mutmut.mutation.trampoline import set_mutant_under_test
    from mutmut.state import state

    set_mutant_under_test("stats")
    found = []
    for position in range(len(items)):
        start = time.process_time()
        failed = run(items, position, position + 1 if position + 1 < len(items) else None)
        found.append((sorted(state()._stats), time.process_time() - start, failed))
        state()._stats.clear()
    return found


def first_failure(items, mutant, reached, seconds):
    """Give the position of the first test that fails with the mutant."""
    from mutmut.mutation.trampoline import set_mutant_under_test

    set_mutant_under_test(mutant)
    for position, following in zip(reached, [*reached[1:], None], strict=True):
        # Seconds of the processor: a busy machine kills no mutant.
        signal.setitimer(signal.ITIMER_PROF, 5 + 10 * seconds[position])
        if run(items, position, following):
            return position
    return "survived"


def in_child(work, *arguments, patience=PATIENCE):
    """Do the work in a forked process; give its result, "timeout" or "crash: ..."."""
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        os.setpgid(0, 0)
        null = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(null, stream)
        try:
            answer = json.dumps(work(*arguments))
        except BaseException as error:  # a mutant may raise whatever it likes
            answer = json.dumps(f"crash: {error!r}")
        with os.fdopen(theirs, "w") as stream:
            stream.write(answer)
        os._exit(0)
    os.close(theirs)
    with os.fdopen(ours) as stream:
        late = not select.select([stream], [], [], patience)[0]
        if late:
            os.killpg(child, signal.SIGKILL)
        answer = stream.read()
    _, status = os.waitpid(child, 0)
    if answer:
        return json.loads(answer)
    ended = os.waitstatus_to_exitcode(status)
    return "timeout" if late or ended == -signal.SIGPROF else f"crash: {ended}"
