"""DIMSE: C-FIND to look, C-GET or C-MOVE to fetch, C-STORE to send (pynetdicom)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from pydicom.dataset import Dataset
from pydicom.uid import (
    JPEG2000,
    Comprehensive3DSRStorage,
    ComprehensiveSRStorage,
    CTImageStorage,
    EncapsulatedPDFStorage,
    EnhancedCTImageStorage,
    EnhancedSRStorage,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    LegacyConvertedEnhancedCTImageStorage,
    MultiFrameTrueColorSecondaryCaptureImageStorage,
    RLELossless,
    RTStructureSetStorage,
    SecondaryCaptureImageStorage,
    SegmentationStorage,
)
from pynetdicom import build_context, build_role, evt
from pynetdicom.sop_class import (
    StudyRootQueryRetrieveInformationModelFind as Find,
)
from pynetdicom.sop_class import (
    StudyRootQueryRetrieveInformationModelGet as Get,
)
from pynetdicom.sop_class import (
    StudyRootQueryRetrieveInformationModelMove as Move,
)

from planner.errors import ConfigurationError, PlannerError, ServerError
from planner.pacs.archive import (
    MOST_INSTANCES,
    Keep,
    Outgoing,
    Query,
    SeriesFound,
    StudyFound,
    Told,
    text_of,
)
from planner.pacs.association import Associations
from planner.pacs.received import read_to_send
from planner.pacs.servers import DimseServer

# What a CT comes in. A server gives a file as it keeps it where that transfer syntax was offered by
# itself; of several that are offered together it chooses one for all files.
CT_CLASSES = (CTImageStorage, EnhancedCTImageStorage, LegacyConvertedEnhancedCTImageStorage)
# What is made of one; no server keeps these compressed but as they were sent.
RESULT_CLASSES = (
    SegmentationStorage,
    Comprehensive3DSRStorage,
    ComprehensiveSRStorage,
    EnhancedSRStorage,
    EncapsulatedPDFStorage,
    SecondaryCaptureImageStorage,
    MultiFrameTrueColorSecondaryCaptureImageStorage,
    RTStructureSetStorage,
)
PLAIN = (ExplicitVRLittleEndian, ImplicitVRLittleEndian)
COMPRESSED = (
    JPEGLosslessSV1,
    JPEGLossless,
    JPEGLSLossless,
    JPEG2000Lossless,
    JPEG2000,
    RLELossless,
)
# PS3.8: an association offers 128 presentation contexts at most.
MOST_CONTEXTS = 128
# PS3.4, C.4: more is to come; PS3.7, C: done, done with a remark, there already.
PENDING = (0xFF00, 0xFF01)
SUCCESS, DUPLICATE, OUT_OF_RESOURCES = 0x0000, 0x0111, 0xA700
# PS3.7, annex C: stored all the same.
WARNINGS = {0x0107, 0x0116, *range(0xB000, 0xC000)}
UNKNOWN_DESTINATION = 0xA801


class DimseArchive:
    """A server that speaks DIMSE."""

    def __init__(self, server: DimseServer, name: str) -> None:
        self.server = server
        self._name = name
        self._associations = Associations(server, name)

    def studies(self, query: Query, limit: int) -> list[StudyFound]:
        """Find studies, the first `limit` of them."""
        wanted = _keys(
            "STUDY",
            PatientID=query.patient_id,
            PatientName=query.patient_name,
            PatientBirthDate="",
            AccessionNumber=query.accession,
            StudyDate=query.date,
            ModalitiesInStudy=query.modality,
            StudyDescription=query.description,
            NumberOfStudyRelatedSeries="",
            StudyInstanceUID="",
        )
        return [StudyFound.of(found) for found in self._find(wanted, limit)]

    def series(self, study: str) -> list[SeriesFound]:
        """List the series of a study."""
        wanted = _keys(
            "SERIES",
            StudyInstanceUID=study,
            SeriesInstanceUID="",
            SeriesNumber="",
            Modality="",
            SeriesDescription="",
            NumberOfSeriesRelatedInstances="",
        )
        return [SeriesFound.of(found) for found in self._find(wanted, MOST_INSTANCES)]

    def instances(self, study: str, series: str) -> list[str]:
        """List the SOP instance UIDs of a series, one more than MOST_INSTANCES at most."""
        wanted = _keys("IMAGE", StudyInstanceUID=study, SeriesInstanceUID=series, SOPInstanceUID="")
        return [text_of(f, "SOPInstanceUID") for f in self._find(wanted, MOST_INSTANCES + 1)]

    def retrieve(self, study: str, series: str, uids: Sequence[str], keep: Keep) -> None:
        """Have instances sent, over one association."""
        wanted = _keys("IMAGE", StudyInstanceUID=study, SeriesInstanceUID=series)
        wanted.SOPInstanceUID = list(uids)
        handlers = [(evt.EVT_C_STORE, _keeper(keep, len(uids)))]
        opened = self._associations.opened
        if self.server.retrieve == "move":
            with (
                self._associations.listening(_contexts(), handlers),
                opened([build_context(Move)]) as association,
            ):
                replies = association.send_c_move(wanted, self.server.our_ae_title, Move)
                self._follow(replies, "C-MOVE")
            return
        contexts = [build_context(Get), *_contexts()]
        roles = [build_role(uid, scp_role=True) for uid in (*CT_CLASSES, *RESULT_CLASSES)]
        with opened(contexts, roles, handlers) as association:
            self._follow(association.send_c_get(wanted, Get), "C-GET")

    def store(self, files: Sequence[Outgoing], told: Told) -> None:
        """Send files over one association, telling of each."""
        kinds = sorted({(each.sop_class, each.transfer_syntax) for each in files})
        if len(kinds) > MOST_CONTEXTS:
            raise ConfigurationError(
                f"{len(kinds)} kinds of files are too many for one go; send fewer files."
            )
        contexts = [build_context(sop_class, syntax) for sop_class, syntax in kinds]
        with self._associations.opened(contexts) as association:
            taken = {
                (str(each.abstract_syntax), str(each.transfer_syntax[0]))
                for each in association.accepted_contexts
            }
            for each in files:
                if (each.sop_class, each.transfer_syntax) not in taken:
                    told(each, "it takes no files of this kind")
                    continue
                made = read_to_send(each)
                try:
                    status = association.send_c_store(made)
                except (ValueError, AttributeError):
                    told(each, "it cannot be encoded as it is")
                    continue
                self._tell(each, status, told)

    def abort(self) -> None:
        """Break off whatever is open."""
        self._associations.abort()

    def _tell(self, each: Outgoing, status: Dataset, told: Told) -> None:
        code = status.get("Status")
        if code is None:
            raise self._associations.broken("while a file was sent")
        if code & 0xFF00 == OUT_OF_RESOURCES:
            raise ServerError(f"the server {self._name} is out of room or memory.")
        fine = code in (SUCCESS, DUPLICATE) or code in WARNINGS
        told(each, "" if fine else f"it answered with status {code:04X}")

    def _find(self, wanted: Dataset, limit: int) -> list[Dataset]:
        """Find the first `limit`; a search that ends in any other way than well is an error."""
        found: list[Dataset] = []
        with self._associations.opened([build_context(Find)]) as association:
            for status, identifier in association.send_c_find(wanted, Find, msg_id=1):
                code = status.get("Status")
                if code is None:
                    raise self._associations.broken("during a search")
                if code == SUCCESS:
                    break
                if code not in PENDING:
                    raise ServerError(
                        f"the server {self._name} ended the search with status {code:04X}; what it "
                        "found may not be all."
                    )
                if identifier is None:
                    raise ServerError(f"the server {self._name} gave an answer without contents.")
                found.append(identifier)
                if len(found) == limit:
                    association.send_c_cancel(1, query_model=Find)
                    break
        return found

    def _follow(self, replies: Iterator[tuple[Dataset, Dataset | None]], what: str) -> None:
        """Follow a retrieval to its end; what did not come is asked for in the next round."""
        for status, _ in replies:
            code = status.get("Status")
            if code is None:
                raise self._associations.broken(f"during {what}")
            if code in PENDING or code == SUCCESS or code in WARNINGS:
                continue
            meaning = ""
            if code == UNKNOWN_DESTINATION:
                meaning = (
                    ", which means that it does not know where to send; its list of known stations "
                    f"must hold {self.server.our_ae_title}"
                )
            raise ServerError(
                f"the server {self._name} answered {what} with status {code:04X}{meaning}."
            )


def _keys(level: str, **keys: str) -> Dataset:
    """Make the keys of a search; what is empty is asked for."""
    made = Dataset()
    made.QueryRetrieveLevel = level
    for keyword, value in keys.items():
        setattr(made, keyword, value)
    if not all(value.isascii() for value in keys.values()):
        made.SpecificCharacterSet = "ISO_IR 192"
    return made


def _contexts() -> list[Any]:
    """Everything that is taken from a server."""
    classes = (*CT_CLASSES, *RESULT_CLASSES)
    plain = [build_context(uid, syntax) for uid in classes for syntax in PLAIN]
    return plain + [build_context(uid, syntax) for uid in CT_CLASSES for syntax in COMPRESSED]


def _keeper(keep: Keep, most: int) -> Callable[[evt.Event], int]:
    """Hand on what comes; a server that sends more than it was asked for is broken off."""
    came = 0

    def handle(event: evt.Event) -> int:
        nonlocal came
        came += 1
        if came > most:
            event.assoc.abort()
            return OUT_OF_RESOURCES
        try:
            keep(event.encoded_dataset())
        except PlannerError:
            return OUT_OF_RESOURCES  # the cause is told where the transfer is followed
        return SUCCESS

    return handle
