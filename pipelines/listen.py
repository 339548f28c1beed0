"""The verb `listen`: images come in over the DICOM network, each study is segmented when it is whole."""

import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from radseg.pipelines.bundle_loader import load_workflow
from radseg.pipelines.errors import ConfigError, one_line, radseg_cause
from radseg.pipelines.inbox import Inbox, Study
from radseg.pipelines.io.pacs.c_store import ae_title
from radseg.pipelines.io.pacs.c_store_server import DicomServer, is_loopback, sop_classes
from radseg.pipelines.io.store.url import child, place
from radseg.pipelines.segmenter import Batch, Segmenter

__all__ = ["LoadedBundle", "listen"]

_LOOK_EVERY_S = 0.2


def listen(
    bundle: str | Path,
    output_dir: str | Path,
    *,
    aet: str = "RADSEG",
    port: int = 11112,
    bind: str = "127.0.0.1",
    quiet_seconds: float = 30.0,
    keep_seconds: float = 3600.0,
    send_to: str | None = None,
    allow_from: Sequence[str] = (),
    inbox_dir: str | Path | None = None,
    trust_config: bool = False,
    stop: threading.Event | None = None,
    say: Callable[[str], object] = print,
    clock: Callable[[], float] = time.monotonic,
    **overrides: Any,
) -> None:
    """Receives images by C-STORE and segments each study when no more of it comes.

    A study's turn comes when no image of it has come for `quiet_seconds` and no association that sent its latest image
    is open, unless that has gone on to another study. Studies are segmented one at a time while others are received.
    Images that come within `keep_seconds` after that are segmented with the earlier ones, and the results replaced; a
    rest that comes later still is kept until the whole study is sent again. A study that fails is kept, too: it is
    tried again when more images of it come, or its images once more, or after a restart.

    Args:
        bundle: name or folder; a CT bundle takes CT images, a radiograph bundle CR and DX.
        output_dir: gets `<study>/<case>/` as `segment` leaves it, the study named by a hash.
        aet: our AE title; who calls another is rejected.
        port: TCP port, 0 for any.
        bind: IP address to listen at. DICOM is neither encrypted nor authenticated: others than 127.0.0.1 are for
            networks that are protected otherwise.
        quiet_seconds: for how long no image of a study must have come.
        keep_seconds: for how long received images are kept after segmentation; `math.inf` keeps them.
        send_to: `dicom://AET@HOST:PORT` or `dicomweb+https://HOST/PATH`, which gets the segmentations.
        allow_from: AE titles that may send; all when empty.
        inbox_dir: where received images wait, readable by this user alone; `<output_dir>/inbox` by default.
        trust_config: allow a bundle folder that isn't radseg's own.
        stop: ends it when set. Without one, SIGTERM and Ctrl-C do; the study in hand is finished first, unless
            interrupted a second time.
        say: gets a line whenever something happens; no line names a patient or a study but by its hash.
        clock: seconds that only go up.
        **overrides: config keys and values, such as `weights`, `device`.

    Raises:
        RadsegError: the config, the weights, an override, an address or a folder can't be used.
    """
    if inbox_dir is None:
        folder = place(output_dir)
        if not isinstance(folder, Path):
            raise ConfigError(f"{folder}: received images can't wait there; name a local inbox_dir")
        inbox_dir = folder / "inbox"
    if not is_loopback(bind):
        say(f"warning: {bind} is open to the network, and DICOM is neither encrypted nor authenticated; protect it")
    with ExitStack() as stack:
        inbox = Inbox(Path(inbox_dir), quiet_seconds=quiet_seconds, keep_seconds=keep_seconds, clock=clock)
        stack.callback(inbox.close)
        loaded = LoadedBundle(
            bundle,
            inbox.folder,
            output_dir,
            trust_config=trust_config,
            **{"output_type": ["nifti", "dicom_seg"], "send_to": send_to, **overrides},
        )
        stopping = stack.enter_context(_stop_signals()) if stop is None else stop
        server = DicomServer(
            inbox.keep, title=aet, bind=bind, port=port, taken=sop_classes(loaded.modality), allow_from=allow_from
        )
        stack.callback(server.close)
        waiting = f"; {inbox.waiting} studies from before wait" if inbox.waiting else ""
        say(f"listening as {ae_title(aet)} at {bind}:{server.port}{waiting}")
        work_through(inbox, loaded.segment, stopping, say, send_to)
        say(f"stopped; {inbox.waiting} studies wait in the inbox")


def work_through(
    inbox: Inbox,
    segment: Callable[[Study], Batch],
    stop: threading.Event,
    say: Callable[[str], object] = print,
    sent_to: str | None = None,
) -> None:
    """Segments each study whose turn comes, one at a time, until stopped.

    Args:
        inbox: gives the studies and takes them back.
        segment: does the work. What it raises is said and keeps the study in the inbox, nothing more.
        stop: ends it, after the study in hand.
        say: gets a line whenever something happens.
        sent_to: what the results have been sent to when a study is segmented.
    """
    while not stop.is_set():
        study = inbox.next_study()
        if study is None:
            inbox.delete_old()
            stop.wait(_LOOK_EVERY_S)
        elif study.missing:
            late = f"{len(study.instances)} images of study {study.name} are there, {study.missing} more were segmented"
            say(f"{late} earlier and deleted since; send the whole study again")
            inbox.failed(study)
        else:
            say(f"received {len(study.instances)} images of study {study.name}")
            try:
                batch = segment(study)
            except Exception as error:  # whatever it is, the next study must have its turn
                say(f"failed study {study.name}: {one_line(error)}; kept in the inbox")
                inbox.failed(study)
            else:
                _settle(inbox, study, batch, say, sent_to)


def _settle(inbox: Inbox, study: Study, batch: Batch, say: Callable[[str], object], sent_to: str | None) -> None:
    """Says how a study ended, and gives it back."""
    if batch.failed:
        for case, reason in batch.failed.items():
            say(f"failed study {study.name}, case {case}: {reason}; kept in the inbox")
        inbox.failed(study)
        return
    cases = [*batch.done, *batch.skipped]
    if cases:
        refused = f", {len(batch.refused)} refused" if batch.refused else ""
        say(f"segmented study {study.name}: {len(cases)} cases{refused}; see {batch.destination}")
        if sent_to is not None:
            say(f"sent the results of study {study.name}")
    else:
        reason = next(iter(batch.refused.values()), "no image")
        say(f"nothing to segment in study {study.name}: {reason}")
    inbox.done(study)


class LoadedBundle:
    """A bundle whose networks are in memory, for one study after the other.

    Args:
        bundle: name or folder.
        inputs: folder that the studies are below.
        output_dir: folder or URL that gets a folder a study.
        trust_config: allow a bundle folder that isn't radseg's own.
        **overrides: config keys and values.

    Raises:
        RadsegError: the config, the weights or an override can't be used.
    """

    def __init__(
        self,
        bundle: str | Path,
        inputs: Path,
        output_dir: str | Path,
        *,
        trust_config: bool = False,
        **overrides: Any,
    ) -> None:
        self.output_dir = output_dir
        given = {"dataset_dir": [str(inputs)], "output_dir": output_dir, "progress": False, **overrides}
        workflow = load_workflow(bundle, "inference", given, trust_config)
        parser = workflow.parser
        try:
            workflow.initialize()
            self._hidden: Callable[[str], str] = parser.get_parsed_content("dicom_out").hidden
            self.modality = str(parser.get_parsed_content("modality"))
            parser.get_parsed_content("evaluator")
        except Exception as error:
            cause = radseg_cause(error)
            raise cause or ConfigError(f"{one_line(error)}; check the overrides and the config") from error
        # parsed once, these hold the components that they refer to, and make as many as are wanted
        self._cases = parser.ref_resolver.get_item("dataset")
        self._segmenter = parser.ref_resolver.get_item("evaluator")

    def segment(self, study: Study) -> Batch:
        """Segments one study into its own folder; what an earlier try has finished of the same images is kept.

        Raises:
            RadsegError: the output can't be written.
        """
        output_dir = child(self.output_dir, self._hidden(study.name)[:16])
        cases = self._cases.instantiate(inputs=[str(study.folder)], exclude=output_dir)
        segmenter = self._segmenter.instantiate(cases=cases, output_dir=output_dir, overwrite=not study.resumed)
        assert isinstance(segmenter, Segmenter)
        return segmenter.run()


@contextmanager
def _stop_signals() -> Iterator[threading.Event]:
    """An event that SIGTERM or Ctrl-C sets; a second one acts as it does elsewhere."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def ask(number: int, frame: object) -> None:
        stop.set()
        restore()

    for number in before:
        signal.signal(number, ask)
    try:
        yield stop
    finally:
        restore()
