"""Slicer's views on the server: three slices and 3-D, rendered off screen and sent to the page as images."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from SPRRegistrationLib.i18n import tr as _
from trame.widgets import html
from trame.widgets import vuetify3 as v
from trame_server.utils.typed_state import TypedState
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
from SPRExplorer.controls import html_attributes
from SPRExplorer.scheduler import ViewScheduler
from SPRExplorer.state import Encoder

SLICES = {
    "Red": ("Axial", "#F34A33", "RLAP"),
    "Yellow": ("Sagittal", "#EFD64D", "APSI"),
    "Green": ("Coronal", "#6DAD4A", "RLSI"),
}
"""By view: orientation, Slicer's color, and the directions at its left, right, top and bottom edge."""

CAMERA_OFFSET_MM = (-220.0, 320.0, 190.0)
"""Camera of the 3-D view from the focal point: in front, to the right of the patient, above."""

ORIGINAL = "Original"
THREE_D = "ThreeD"


@dataclass
class SlicePosition:
    """Position of a slice, its range and its step, in mm."""

    low: float
    high: float
    step: float
    value: float


class Views:
    """The views of the scene; needs a running event loop.

    Args:
        server: The server of trame.
        app: The scene with its logics.
        callbacks: See `ViewScheduler`.
    """

    def __init__(self, server: Any, app: SlicerApp, **callbacks: Callable[[], object]) -> None:
        self._server, self._app = server, app
        self.scheduler = ViewScheduler(lambda view: bool(app.view_manager.filter_visible_views([view])), **callbacks)
        for kind, build in ((_SliceViewFactory, self._frame_slice), (_ThreeDViewFactory, self._frame_3d)):
            app.view_manager.register_factory(kind(self.scheduler, server, populate_view_ui_f=build))
        self.layouts = LayoutManager(app.scene, app.view_manager, server)
        self._shapes: dict[str, float] = {}
        for name, layout in layouts().items():
            # Views are made here, before the page, which only refers to them.
            self.layouts.register_layout(name, layout, lazy_initialization=name == "original")
        self._configure(app.view_manager.get_views())

    @property
    def slices(self) -> list[SliceView]:
        """All slice views."""
        return self._app.view_manager.get_slice_views()

    def add_to_page(self, page: Any) -> None:
        """Add the views to the current element of the page."""
        self.layouts.initialize_layout_grid(page)

    def set_layout(self, name: str) -> None:
        """Show a layout."""
        known = self._app.view_manager.get_views()
        self.layouts.create_layout_views_if_needed(name)
        self._configure([view for view in self._app.view_manager.get_views() if view not in known])
        self.layouts.set_layout(name)
        self.render()

    def fit(self) -> None:
        """Fit all views to the images."""
        for view in self._app.view_manager.get_views():
            self._fit(view)

    def render(self) -> None:
        """Request rendering of the views on the page."""
        for view in self._app.view_manager.filter_visible_views(self._app.view_manager.get_views()):
            view.schedule_render()

    def step(self, by: int) -> None:
        """Move the slice views on the page by a number of slices."""
        for view in self._app.view_manager.filter_visible_views(self.slices):
            low, high = view.get_slice_range()
            value = view.get_slice_value() + by * view.get_slice_step()
            view.set_slice_value(min(max(value, low), high))

    def _configure(self, views: list[AbstractView]) -> None:
        for view in views:
            view.render_window().SetMultiSamples(0)  # an eighth of the work of software rendering
            view.render_window().AddObserver("WindowResizeEvent", partial(self._resized, view))
            if isinstance(view, SliceView):
                view.set_visible_in_3d(view.get_view_group() == 0)

    def _resized(self, view: AbstractView, window: Any, event: str) -> None:
        """Fit a view after a change of its aspect ratio; a change of scale alone keeps it.

        The fit is deferred, since the event precedes the new size.
        """
        width, height = window.GetSize()
        tag, shape = view.get_singleton_tag(), width / max(height, 1)
        before = self._shapes.get(tag)
        self._shapes[tag] = shape
        if before is None or (abs(shape / before - 1) > 0.02 and isinstance(view, SliceView)):
            asyncio.get_running_loop().call_soon(self._fit, view, before is not None)

    def _fit(self, view: AbstractView, keep_slice: bool = False) -> None:
        position = view.get_slice_value() if keep_slice and isinstance(view, SliceView) else None
        view.fit_view_to_content()
        if position is not None:
            view.set_slice_value(position)
        if isinstance(view, ThreeDView) and view.get_camera_node() is not None:
            camera = view.get_camera_node().GetCamera()  # oblique, so that all three slices are visible
            camera.SetPosition(*np.add(camera.GetFocalPoint(), CAMERA_OFFSET_MM))
            camera.SetViewUp(0, 0, 1)
            view.renderer().ResetCamera()
            view.zoom(0.3)
            view.renderer().ResetCameraClippingRange()
        view.schedule_render()

    def _frame_slice(self, server: Any, view_id: str, view: SliceView) -> None:
        group = view.get_view_group()
        orientation, color, edges = SLICES[view.get_singleton_tag().removesuffix(ORIGINAL)]
        title = _("{view}, undeformed moving image").format(view=orientation) if group else orientation
        html.Span(title, classes="spr-view-title", style=f"border-color: {color}")
        for edge, letter in zip(("left", "right", "top", "bottom"), edges, strict=True):
            html.Span(letter, classes=f"spr-edge spr-edge-{edge}", **html_attributes(aria_hidden="true"))
        if not group:
            legend.build(self._app.scene)
        self._slider(server, view_id, view, orientation)

    def _slider(self, server: Any, view_id: str, view: SliceView, orientation: str) -> None:
        state = TypedState(server.state, SlicePosition, namespace=view_id, encoder=Encoder())
        names = state.name

        def follow(_view: SliceView) -> None:
            (low, high), step = view.get_slice_range(), view.get_slice_step()
            state.set_dataclass(SlicePosition(low=low, high=high, step=step, value=view.get_slice_value()))

        def move(value: float | None) -> None:
            low, high = view.get_slice_range()
            if value is not None and low <= value <= high:
                view.set_slice_value(value)

        follow(view)
        view.modified.connect(follow)
        state.bind_changes({names.value: move})
        v.VSlider(
            v_model=(names.value,),
            min=(names.low,),
            max=(names.high,),
            step=(names.step,),
            classes="spr-view-slider",
            color="white",
            track_size=2,
            thumb_size=12,
            hide_details=True,
            density="compact",
            **html_attributes(aria_label=_("Position of the {view} slice in mm").format(view=orientation)),
        )

    def _frame_3d(self, server: Any, view_id: str, view: ThreeDView) -> None:
        html.Span(_("3-D"), classes="spr-view-title", style="border-color: #8f96d2")
        view.renderer().SetUseDepthPeeling(False)
        view.renderer().SetUseDepthPeelingForVolumes(False)


class _ScheduledFactory:
    """Mixin of view factories: the scheduler renders their views."""

    is_slow = False

    def __init__(self, scheduler: ViewScheduler, server: Any, **options: Any) -> None:
        super().__init__(server, **options)
        self._scheduler = scheduler

    def _create_view(self, *arguments: Any) -> Any:
        made = super()._create_view(*arguments)
        self._scheduler.add(made.slicer_view, made.view_adapter, is_slow=self.is_slow)
        return made


class _SliceViewFactory(_ScheduledFactory, RemoteSliceViewFactory):
    pass


class _ThreeDViewFactory(_ScheduledFactory, RemoteThreeDViewFactory):
    is_slow = True  # software rendering would delay the slices while a slider moves


def layouts() -> dict[str, Layout]:
    """Return the layouts by name."""
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
    """Return the layouts to choose from, with titles and icons."""
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
