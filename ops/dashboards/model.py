"""What our dashboards are made of, as the JSON that Grafana 11 reads.

A panel always has a description, a unit and, where there is a good and a bad,
thresholds: whoever opens it at three in the morning is to know what to look for.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

Json = dict[str, Any]

SCHEMA_VERSION: Final = 41  # of Grafana 11.6
GRID: Final = 24  # columns
SOURCE: Final[Json] = {"type": "prometheus", "uid": "${datasource}"}
CLUSTER: Final = 'cluster=~"$cluster"'
"""For the braces of every selector."""

GREEN, YELLOW, RED, BLUE = "green", "yellow", "red", "blue"


@dataclass(frozen=True)
class Query:
    """A PromQL expression and what its lines are called."""

    expr: str
    legend: str = "__auto"
    instant: bool = False
    form: str = "time_series"  # table, heatmap


@dataclass(frozen=True)
class Panel:
    """One panel; `height` in grid units, `width` in columns."""

    kind: str
    title: str
    description: str
    queries: tuple[Query, ...]
    unit: str
    width: int = 8
    height: int = 7
    steps: tuple[tuple[float | None, str], ...] = ((None, GREEN),)
    options: Json = field(default_factory=dict)
    custom: Json = field(default_factory=dict)
    mappings: tuple[Json, ...] = ()
    transformations: tuple[Json, ...] = ()
    overrides: tuple[Json, ...] = ()
    low: float | None = None
    high: float | None = None
    decimals: int | None = None


@dataclass(frozen=True)
class Row:
    """A title over panels."""

    title: str
    panels: tuple[Panel, ...]


def above(
    yellow: float | None = None, red: float | None = None
) -> tuple[tuple[float | None, str], ...]:
    """Green, then yellow from one value on, then red from another."""
    steps: list[tuple[float | None, str]] = [(None, GREEN)]
    steps += [(at, color) for at, color in ((yellow, YELLOW), (red, RED)) if at is not None]
    return tuple(steps)


def below(red: float, yellow: float) -> tuple[tuple[float | None, str], ...]:
    """Red, then yellow from `red` on, then green from `yellow` on."""
    return ((None, RED), (red, YELLOW), (yellow, GREEN))


def values(**texts: tuple[str, str]) -> Json:
    """Words for values: ``values(_0=("no", GREEN))``."""
    options = {
        name.lstrip("_"): {"text": text, "color": color, "index": index}
        for index, (name, (text, color)) in enumerate(texts.items())
    }
    return {"type": "value", "options": options}


def stat(title: str, description: str, expr: str, unit: str = "short", **more: Any) -> Panel:
    """One number now, in the colour of its threshold."""
    options = {
        "colorMode": "background",
        "graphMode": "none",
        "justifyMode": "auto",
        "orientation": "auto",
        "textMode": "auto",
        "wideLayout": True,
        "percentChangeColorMode": "standard",
        "showPercentChange": False,
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
    }
    more = {"width": 3, "height": 4} | more
    return Panel(
        "stat", title, description, (Query(expr, instant=True),), unit, options=options, **more
    )


def lines(
    title: str,
    description: str,
    *queries: Query,
    unit: str = "short",
    stacked: bool = False,
    **more: Any,
) -> Panel:
    """Values over time."""
    custom = {
        "drawStyle": "line",
        "lineInterpolation": "linear",
        "lineWidth": 1,
        "fillOpacity": 25 if stacked else 8,
        "showPoints": "never",
        "spanNulls": False,
        "stacking": {"mode": "normal" if stacked else "none", "group": "A"},
        "thresholdsStyle": {"mode": "dashed" if len(more.get("steps", ())) > 1 else "off"},
    }
    options = {
        "legend": {
            "calcs": ["lastNotNull", "max"],
            "displayMode": "table",
            "placement": "bottom",
            "showLegend": True,
        },
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    more = {"low": 0.0} | more
    return Panel(
        "timeseries", title, description, queries, unit, options=options, custom=custom, **more
    )


def heat(title: str, description: str, bucket: str, unit: str, **more: Any) -> Panel:
    """A histogram over time: the buckets of `bucket`, a name that ends in ``_bucket``."""
    expr = f"sum by (le) (increase({bucket}{{{CLUSTER}}}[$__rate_interval]))"
    options = {
        "calculate": False,
        "cellGap": 1,
        "cellValues": {"unit": "short", "decimals": 0},
        "color": {
            "exponent": 0.5, "fill": "dark-orange", "mode": "scheme", "reverse": False,
            "scale": "exponential", "scheme": "Spectral", "steps": 64,
        },
        "exemplars": {"color": "rgba(255,0,255,0.7)"},
        "filterValues": {"le": 1e-09},
        "legend": {"show": True},
        "rowsFrame": {"layout": "auto"},
        "tooltip": {"mode": "single", "showColorScale": False, "yHistogram": True},
        "yAxis": {"axisPlacement": "left", "reverse": False, "unit": unit},
    }  # fmt: skip
    query = Query(expr, "{{le}}", form="heatmap")
    return Panel("heatmap", title, description, (query,), unit, options=options, **more)


def states(
    title: str, description: str, *queries: Query, mappings: tuple[Json, ...], **more: Any
) -> Panel:
    """A band a series, in the colour of its value at the time."""
    options = {
        "alignValue": "left",
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
        "mergeValues": True,
        "rowHeight": 0.9,
        "showValue": "auto",
        "tooltip": {"mode": "single", "sort": "none"},
    }
    custom = {"fillOpacity": 70, "lineWidth": 0}
    return Panel(
        "state-timeline", title, description, queries, "short",
        options=options, custom=custom, mappings=mappings, **more,
    )  # fmt: skip


def table(
    title: str,
    description: str,
    *queries: Query,
    unit: str = "short",
    custom: Json | None = None,
    **more: Any,
) -> Panel:
    """Labels and values now, a row each."""
    options = {
        "cellHeight": "sm",
        "showHeader": True,
        "footer": {"show": False, "reducer": ["sum"], "countRows": False, "fields": ""},
    }
    custom = custom or {"align": "auto", "cellOptions": {"type": "auto"}, "inspect": False}
    return Panel("table", title, description, queries, unit, options=options, custom=custom, **more)


def dashboard(
    uid: str, title: str, description: str, rows: tuple[Row, ...], *, by_node: bool = False
) -> Json:
    """The whole of it. `by_node`: with a choice of nodes, as ``$instance``."""
    panels: list[Json] = []
    top = 0
    for row in rows:
        panels.append(
            {
                "type": "row",
                "title": row.title,
                "id": len(panels) + 1,
                "collapsed": False,
                "gridPos": {"h": 1, "w": GRID, "x": 0, "y": top},
                "panels": [],
            }
        )
        top += 1
        left = tallest = 0
        for panel in row.panels:
            if left + panel.width > GRID:
                top, left, tallest = top + tallest, 0, 0
            place = {"h": panel.height, "w": panel.width, "x": left, "y": top}
            panels.append(_panel(panel, len(panels) + 1, place))
            left, tallest = left + panel.width, max(tallest, panel.height)
        top += tallest
    variables = [
        _source_variable(),
        _variable("cluster", "Ring", "label_values(cometring_ready, cluster)"),
    ]
    if by_node:
        query = 'label_values(cometring_ready{cluster=~"$cluster"}, instance)'
        variables.append(_variable("instance", "Node", query))
    return {
        "uid": uid,
        "title": title,
        "description": description,
        "tags": ["cometring"],
        "schemaVersion": SCHEMA_VERSION,
        "editable": False,
        "graphTooltip": 1,
        "fiscalYearStartMonth": 0,
        "refresh": "10s",
        "time": {"from": "now-30m", "to": "now"},
        "timepicker": {"hidden": False, "refresh_intervals": ["5s", "10s", "30s", "1m", "5m"]},
        "timezone": "browser",
        "annotations": {"list": [_alerts_annotation()]},
        "links": [_link()],
        "templating": {"list": variables},
        "panels": panels,
    }


def _panel(panel: Panel, number: int, place: Json) -> Json:
    defaults: Json = {
        "unit": panel.unit,
        "color": {"mode": "palette-classic" if panel.kind == "timeseries" else "thresholds"},
        "thresholds": {
            "mode": "absolute",
            "steps": [{"value": at, "color": color} for at, color in panel.steps],
        },
        "mappings": list(panel.mappings),
        "noValue": "no data",
        "custom": panel.custom,
    }
    optional = {"min": panel.low, "max": panel.high, "decimals": panel.decimals}
    defaults |= {name: value for name, value in optional.items() if value is not None}
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": SOURCE,
        "gridPos": place,
        "targets": [_target(query, index) for index, query in enumerate(panel.queries)],
        "fieldConfig": {"defaults": defaults, "overrides": list(panel.overrides)},
        "options": panel.options,
        "transformations": list(panel.transformations),
        "transparent": False,
    }


def _target(query: Query, index: int) -> Json:
    return {
        "refId": chr(ord("A") + index),
        "datasource": SOURCE,
        "expr": query.expr,
        "legendFormat": query.legend,
        "instant": query.instant,
        "range": not query.instant,
        "format": query.form,
        "editorMode": "code",
    }


def _source_variable() -> Json:
    return {
        "type": "datasource",
        "name": "datasource",
        "label": "Source",
        "query": "prometheus",
        "hide": 0,
        "skipUrlSync": False,
        "multi": False,
        "includeAll": False,
        "regex": "",
        "refresh": 1,
    }


def _variable(name: str, label: str, query: str) -> Json:
    return {
        "type": "query", "name": name, "label": label, "datasource": SOURCE,
        "query": {"query": query, "refId": f"variable-{name}"}, "hide": 0, "skipUrlSync": False, "multi": True,
        "includeAll": True, "allValue": ".*", "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
        "refresh": 2, "regex": "", "sort": 1,
    }  # fmt: skip


def _alerts_annotation() -> Json:
    """Red marks from when an alert of ours began to fire."""
    expr = 'ALERTS{alertname=~"Cometring.+", alertname!="CometringWatchdog", alertstate="firing"}'
    return {
        "name": "Alerts", "datasource": SOURCE, "enable": True, "hide": False, "iconColor": RED,
        "expr": expr, "step": "10s", "titleFormat": "{{alertname}}", "textFormat": "{{severity}} {{instance}}",
    }  # fmt: skip


def _link() -> Json:
    return {
        "type": "dashboards", "title": "cometring", "tags": ["cometring"], "asDropdown": False, "icon": "external link",
        "includeVars": True, "keepTime": True, "targetBlank": False, "tooltip": "", "url": "",
    }  # fmt: skip
