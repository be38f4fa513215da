"""Slicer's views on a server: three slices and 3-D, drawn off screen, sent to the page as pictures."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

from SPRRegistrationLib.i18n import tr as _
from trame.widgets import html
from trame.widgets import vuetify3 as v
from trame_slicer.core import LayoutManager, SlicerApp
from trame_slicer.rca_view import RemoteSliceViewFactory, RemoteThreeDViewFactory
from trame_slicer.views import (
    AbstractView,
    Layout,
    LayoutDirection,
    SliceView,
    ThreeDView,
    ViewLayoutDefinition,
    ViewProps,
    ViewType,
)

from SPRExplorer import legend
from SPRExplorer.controls import plain
from SPRExplorer.painter import Painter

SLICES = {
    "Red": ("Axial", "#F34A33", "RLAP"),
    "Yellow": ("Sagittal", "#EFD64D", "APSI"),
    "Green": ("Coronal", "#6DAD4A", "RLSI"),
}
"""Name of each view: orientation, Slicer's color, and what lies at its left, right, upper and lower edge."""

CORNER = (-220.0, 320.0, 190.0)
"""From where 3-D is seen: in front, to the right of the patient, above."""

ORIGINAL = "Original"
THREE_D = "ThreeD"


class Views:
    """The views of the scene; to be made within an event loop.

    Args:
        server: The server of trame.
        app: The scene with its logics.
        callbacks: As `Painter` has them.
    """

    def __init__(self, server: Any, app: SlicerApp, **callbacks: Callable[[], object]) -> None:
        self._server, self._app = server, app
        self.painter = Painter(lambda view: bool(app.view_manager.filter_visible_views([view])), **callbacks)
        app.view_manager.register_factory(_Slices(self.painter, server, populate_view_ui_f=self._frame_slice))
        app.view_manager.register_factory(_ThreeD(self.painter, server, populate_view_ui_f=self._frame_3d))
        self.layouts = LayoutManager(app.scene, app.view_manager, server)
        self._shapes: dict[str, float] = {}
        for name, layout in layouts().items():
            # Made at once, outside of the page: the page only names them.
            self.layouts.register_layout(name, layout, lazy_initialization=name == "original")
        self._prepare(app.view_manager.get_views())

    @property
    def slices(self) -> list[SliceView]:
        """All slice views that have been made."""
        return self._app.view_manager.get_slice_views()

    def place(self, page: Any) -> None:
        """Put the views into the page, at the place that is being filled."""
        self.layouts.initialize_layout_grid(page)

    def arrange(self, name: str) -> None:
        """Show a layout."""
        known = self._app.view_manager.get_views()
        self.layouts.create_layout_views_if_needed(name)
        self._prepare([view for view in self._app.view_manager.get_views() if view not in known])
        self.layouts.set_layout(name)
        self.render()

    def fit(self) -> None:
        """Show all of the images."""
        for view in self._app.view_manager.get_views():
            self._fit(view)

    def render(self) -> None:
        """Draw anew what is on the page."""
        for view in self._app.view_manager.filter_visible_views(self._app.view_manager.get_views()):
            view.schedule_render()

    def step(self, by: int) -> None:
        """Go on by some slices in the views of the fixed image."""
        for view in self._app.view_manager.filter_visible_views(self.slices):
            low, high = view.get_slice_range()
            value = view.get_slice_value() + by * view.get_slice_step()
            view.set_slice_value(min(max(value, low), high))

    def _prepare(self, views: list[AbstractView]) -> None:
        for view in views:
            view.render_window().SetMultiSamples(0)  # an eighth of the work, without a graphics card
            view.render_window().AddObserver("WindowResizeEvent", partial(self._resized, view))
            if isinstance(view, SliceView):
                view.set_visible_in_3d(view.get_view_group() == 0)

    def _resized(self, view: AbstractView, window: Any, event: str) -> None:
        """Fit a view once it has its new size, which it has not yet; drawn coarser it keeps shape and place."""
        width, height = window.GetSize()
        tag, shape = view.get_singleton_tag(), width / max(height, 1)
        before = self._shapes.get(tag)
        self._shapes[tag] = shape
        if before is None or (abs(shape / before - 1) > 0.02 and isinstance(view, SliceView)):
            asyncio.get_running_loop().call_soon(self._fit, view, before is not None)

    def _fit(self, view: AbstractView, stay: bool = False) -> None:
        place = view.get_slice_value() if stay and isinstance(view, SliceView) else None
        view.fit_view_to_content()
        if place is not None:
            view.set_slice_value(place)
        if isinstance(view, ThreeDView) and view.get_camera_node() is not None:
            camera = view.get_camera_node().GetCamera()  # from a corner, all three slices are seen
            camera.SetPosition(*(focus + way for focus, way in zip(camera.GetFocalPoint(), CORNER, strict=True)))
            camera.SetViewUp(0, 0, 1)
            view.renderer().ResetCamera()
            view.zoom(0.3)
            view.renderer().ResetCameraClippingRange()
        view.schedule_render()

    def _frame_slice(self, server: Any, view_id: str, view: SliceView) -> None:
        group = view.get_view_group()
        orientation, color, edges = SLICES[view.get_singleton_tag().removesuffix(ORIGINAL)]
        title = _("{view}, moving image as it was taken").format(view=orientation) if group else orientation
        html.Span(title, classes="spr-view-title", style=f"border-color: {color}")
        for edge, letter in zip(("left", "right", "top", "bottom"), edges, strict=True):
            html.Span(letter, classes=f"spr-edge spr-edge-{edge}", **plain(aria_hidden="true"))
        if not group:
            legend.build(self._app.scene)
        self._slider(server, view_id, view, orientation)

    def _slider(self, server: Any, view_id: str, view: SliceView, orientation: str) -> None:
        place, limits = f"{view_id}_offset", f"{view_id}_limits"
        state = server.state

        def follow(_view: SliceView) -> None:
            state[limits] = [*view.get_slice_range(), view.get_slice_step()]
            state[place] = view.get_slice_value()

        def move(**values: Any) -> None:
            value = values[place]
            low, high, _step = state[limits]
            if isinstance(value, (int, float)) and low <= value <= high:
                view.set_slice_value(float(value))

        follow(view)
        view.modified.connect(follow)
        state.change(place)(move)
        v.VSlider(
            v_model=(place,),
            min=(f"{limits}[0]",),
            max=(f"{limits}[1]",),
            step=(f"{limits}[2]",),
            classes="spr-view-slider",
            color="white",
            track_size=2,
            thumb_size=12,
            hide_details=True,
            density="compact",
            **plain(aria_label=_("Position of the {view} slice in mm").format(view=orientation)),
        )

    def _frame_3d(self, server: Any, view_id: str, view: ThreeDView) -> None:
        html.Span(_("3-D"), classes="spr-view-title", style="border-color: #8f96d2")
        view.renderer().SetUseDepthPeeling(False)
        view.renderer().SetUseDepthPeelingForVolumes(False)


class _Painted:
    """A factory whose views the painter draws."""

    is_slow = False

    def __init__(self, painter: Painter, server: Any, **options: Any) -> None:
        super().__init__(server, **options)
        self._painter = painter

    def _create_view(self, *arguments: Any) -> Any:
        made = super()._create_view(*arguments)
        self._painter.adopt(made.slicer_view, made.view_adapter, is_slow=self.is_slow)
        return made


class _Slices(_Painted, RemoteSliceViewFactory):
    pass


class _ThreeD(_Painted, RemoteThreeDViewFactory):
    is_slow = True  # drawn by the processor, it would hold up the slices while a slider moves


def layouts() -> dict[str, Layout]:
    """Return the arrangements of views there are, by their names."""
    slices = {name: _slice(name) for name in SLICES}
    red, yellow, green = slices.values()
    three_d = ViewLayoutDefinition(
        THREE_D,
        ViewType.THREE_D_VIEW,
        ViewProps(label="3-D", background_color=("#20242c", "#3a4150"), box_visible=False),
    )
    row, column = partial(Layout, LayoutDirection.Horizontal), partial(Layout, LayoutDirection.Vertical)
    originals = [_slice(name, original=True) for name in SLICES]
    return {
        "four": column([row([red, three_d]), row([green, yellow])]),
        "slices": row([red, column([green, yellow])], ["2", "1"]),
        "axial": column([red]),
        "sagittal": column([yellow]),
        "coronal": column([green]),
        "3d": column([three_d]),
        "original": column([row([red, green, yellow]), row([originals[0], originals[2], originals[1]])]),
    }


def layout_choices() -> list[dict[str, str]]:
    """Return the arrangements that can be chosen, with their titles and icons."""
    return [
        {"value": "four", "title": _("Four views"), "icon": "mdi-view-grid-outline"},
        {"value": "slices", "title": _("Axial and two"), "icon": "mdi-view-split-vertical"},
        {"value": "axial", "title": _("Axial"), "icon": "mdi-alpha-a-box-outline"},
        {"value": "coronal", "title": _("Coronal"), "icon": "mdi-alpha-c-box-outline"},
        {"value": "sagittal", "title": _("Sagittal"), "icon": "mdi-alpha-s-box-outline"},
        {"value": "3d", "title": _("3-D"), "icon": "mdi-cube-outline"},
    ]


def _slice(name: str, original: bool = False) -> ViewLayoutDefinition:
    orientation, color, _edges = SLICES[name]
    tag = f"{name}{ORIGINAL}" if original else name
    properties = ViewProps(orientation=orientation, color=color, label=tag, group=int(original))
    return ViewLayoutDefinition(tag, ViewType.SLICE_VIEW, properties)
