"""The scene that turns: bones, channels and needles in a viewer that an HTML page carries.

The viewer is K3D's, whose JavaScript an installed package ships; it is written into the page with
its licence, so that the page asks for nothing from outside. Our own script (`viewer.js`) only
switches: what is shown, where the camera stands, where the slice lies. Every point, plane and
distance comes from here.
"""

from planner.export.viewer.library import Library, library, script_policy
from planner.export.viewer.scene import Scene, build_scene

__all__ = ["Library", "Scene", "build_scene", "library", "script_policy"]
