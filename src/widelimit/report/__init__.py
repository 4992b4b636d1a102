"""The self-contained page and the image files, made from stored results."""

from widelimit.report.build import build_report
from widelimit.report.chart import figure_spec, panel_spec
from widelimit.report.page import Section, write_page

__all__ = ["Section", "build_report", "figure_spec", "panel_spec", "write_page"]
