"""Runs work in a process of its own."""

import concurrent.futures
import concurrent.futures.process
import multiprocessing
import os
import threading
from collections.abc import Callable
from typing import Any

from absl import flags, logging

from air_tf import cli
from air_tf.errors import ProcessKilled


def in_fresh_process(function: Callable, *args: Any) -> Any:
    """Calls a function in a new process.

    Nothing is compiled there yet, and its peak of memory is its own. It logs as this
    process does, and ends with it.

    Args:
      function: one of a module, that pickle finds by its name.
      args: positional arguments, which pickle must be able to copy.

    Returns:
      What the function returns.

    Raises:
      ProcessKilled: if the process ends without a result; or what `function` raises.
    """
    with concurrent.futures.ProcessPoolExecutor(
        max_workers=1,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_start,
        initargs=(logging.get_verbosity(),),
    ) as pool:
        try:
            return pool.submit(function, *args).result()
        except concurrent.futures.process.BrokenProcessPool:
            raise ProcessKilled(
                "a worker process was killed, possibly for lack of memory; results "
                "that were written before are kept"
            ) from None


def _start(verbosity: int) -> None:
    flags.FLAGS.mark_as_parsed()  # else the log warns of it
    logging.use_absl_handler()
    cli.log_for_users()
    logging.set_verbosity(verbosity)
    parent = multiprocessing.parent_process()
    assert parent is not None  # a spawned process has one

    def end_with_parent() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()
