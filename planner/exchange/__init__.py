"""Plans that leave the house: every format that other programs read, and what each must hold."""

from planner.exchange.export import FOLDER, export_plan
from planner.exchange.formats import FORMATS, Format, Needs
from planner.exchange.handover import Handover, Settings

__all__ = ["FOLDER", "FORMATS", "Format", "Handover", "Needs", "Settings", "export_plan"]
