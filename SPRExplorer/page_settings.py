"""Sections “Task model” and “Regularization” of the page, and Apply."""

from __future__ import annotations

from typing import Any

from SPRRegistrationLib.i18n import tr as _
from SPRRegistrationLib.messages import MARK
from SPRRegistrationLib.parameters import AnatomyChoice, Device, PriorChoice, SimilarityChoice, StartChoice
from SPRRegistrationLib.scene import painting
from trame.widgets import html
from trame.widgets import vuetify3 as v

from SPRExplorer.controls import (
    COMPACT,
    button,
    check,
    choice,
    html_attributes,
    hyperparameter_slider,
    text,
    tooltip,
    upload_button,
)
from SPRExplorer.state import PAGE, SHOWN

SLIDERS = (
    ("alpha", _("Evenness (α′)"), 0.001),  # noqa: RUF001  # the letters of the paper
    ("lambdaMax", _("Largest stiffness (λ\u00a0max)"), 0.01),
    ("sigma", _("Spread (σ)"), 0.01),  # noqa: RUF001
    ("lambdaMean", _("Mean stiffness (λ\u00a0mean)"), 0.01),
    ("tv", _("Cost of a jump (t)"), 0.01),
    ("tvLambdaMax", _("Largest stiffness (λ\u00a0max)"), 0.1),
    ("strength", _("Stiffness (λ)"), 0.01),
)

REFINEMENTS = (8, 20, 50, 100)
"""Numbers of steps to choose from: not a slider, since each change reopens the pair."""


def task_model() -> None:
    """Build the section “Task model”."""
    choice("method", _("Task model"), PAGE.method_items, v.VAutocomplete, name="modelSelector")
    with html.Div(classes="spr-buttons"):
        upload_button("model", _("Import task model…"), "importButton", reading=True)
    with html.Details(classes="spr-more"):
        html.Summary(_("About this task model"))
        with html.Table(classes="spr-table"):
            with html.Tr(v_for=f"row in {PAGE.card}", key="row[0]"):
                html.Th("{{ row[0] }}")
                html.Td("{{ row[1] }}")
        choice("device", _("Compute device"), Device)
        with html.Div(v_if=("method !== 'instance'",)):
            choice("refine", _("Refine exact results"), _refinements())


def _refinements() -> list[dict[str, Any]]:
    titles = {0: _("No")} | {steps: _("{steps} steps at most").format(steps=steps) for steps in REFINEMENTS}
    return [{"value": steps, "title": title} for steps, title in titles.items()]


def regularization(do: Any) -> None:
    """Build the section “Regularization”."""
    with html.Div(v_if=("method === 'instance'",), classes="spr-pair"):
        choice("anatomy", _("Part of the body"), AnatomyChoice)
        choice("start", _("Start"), StartChoice)
    with html.Div(v_if=("method === 'instance'",)):
        choice("similarity", _("Similarity"), SimilarityChoice)
    choice("prior", _("Kind of stiffness"), PriorChoice)
    for field, label, step in SLIDERS:
        hyperparameter_slider(field, label, step, (do.recommend, f"['{field}']"), (do.press, "[]"))
    _suggestion(do)
    with html.Div(classes="spr-pair"):
        check("live", _("Live"))
        kind = (f"`spr-latency ${{{SHOWN.is_exact} ? 'exact' : ''}}`",)
        with html.Span(
            text(SHOWN.latency), classes=kind, **html_attributes(aria_label=_("Time and kind of the result"))
        ):
            tooltip("latencyLabel")
    _factors(do)


def _suggestion(do: Any) -> None:
    """Build the button for a suggestion, its text, and the button that takes it."""
    with html.Div(v_if=("method === 'instance'",), classes="spr-suggestion"):
        with html.Div(classes="spr-small spr-marks"):
            html.Span(classes="spr-tick-sample")
            html.Span(_("recommended"))
            html.Span(MARK, classes="spr-diamond", v_if=(f"Object.keys({SHOWN.suggested}).length",))
            html.Span(_("suggested"), v_if=(f"Object.keys({SHOWN.suggested}).length",))
        with html.Div(classes="spr-buttons"):
            ask = {
                "disabled": (f"!{SHOWN.can_suggest}",),
                "loading": (SHOWN.is_choosing,),
                "prepend_icon": "mdi-lightbulb-on-outline",
            }
            button(_("Suggest a setting"), do.suggest, "suggestButton", **ask)
            button(_("Use it"), do.take_suggestion, "takeButton", v_if=(SHOWN.can_take,), color="primary")
        html.Div(
            text(SHOWN.suggestion), v_if=(SHOWN.suggestion,), classes="spr-small", **html_attributes(role="status")
        )


def _factors(do: Any) -> None:
    """Build the stiffness factors of the segments, if there are segments."""
    with html.Details(
        v_if=(f"{PAGE.factors}.length",), classes="spr-more", **html_attributes(data_spr_section="factors")
    ):
        html.Summary(_("Stiffness of single segments"))
        has_effect = "method === 'instance' || refine > 0"
        html.Div(
            _("Task models use it only with “Refine exact results”."), v_if=(f"!({has_effect})",), classes="spr-quiet"
        )
        with html.Div(v_for=f"row in {PAGE.factors}", key="row.label", classes="spr-factor"):
            html.Span("{{ row.name }}", classes="spr-label")
            v.VSelect(
                model_value=("row.factor",),
                update_modelValue=(do.paint, "[row.label, $event]"),
                items=("factor_items", _factor_items()),
                disabled=(f"row.factor === 1 && !({has_effect})",),  # a factor can always be reset
                **COMPACT,
                variant="outlined",
                classes="spr-choice",
                **{"raw_attrs": [':aria-label="row.name"']},
            )


def _factor_items() -> list[dict[str, Any]]:
    words = {1.0: _("unchanged")}
    for factor in painting.FACTORS:
        text = _("{factor:.2g} times stiffer") if factor > 1 else _("{factor:.2g} times freer")
        words.setdefault(factor, text.format(factor=factor if factor > 1 else 1 / factor))
    return [{"value": factor, "title": words[factor]} for factor in painting.FACTORS]


def run(do: Any) -> None:
    """Build Apply and Cancel, with progress and status."""
    with html.Div(classes="spr-run"):
        with html.Div(classes="spr-apply-row"):
            looks = {"color": "primary", "variant": "flat", "id": "spr-apply"}
            with v.VBtn(text(SHOWN.apply_text), click=do.apply, disabled=(f"!{SHOWN.can_apply}",), **looks):
                tooltip("applyButton")
            looks = {"color": "warning", "variant": "tonal", "id": "spr-cancel"}
            with v.VBtn(_("Cancel"), click=do.cancel, disabled=(f"!{SHOWN.busy}",), **looks):
                tooltip("cancelButton")
        v.VProgressLinear(
            v_if=(SHOWN.busy,),
            indeterminate=(f"{SHOWN.progress} < 0",),
            model_value=(SHOWN.progress,),
            color="primary",
            height=4,
            rounded=True,
            **html_attributes(aria_label=_("Progress of the computation")),
        )
        html.Div(text(SHOWN.status), classes="spr-status", **html_attributes(role="status"))
        v.VBtn(_("Try again"), v_if=(SHOWN.failed,), click=do.restart, size="small", variant="tonal", color="warning")
