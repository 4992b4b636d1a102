"""The self-contained page and the image files, made from stored results."""

from widelimit.report.build import build_report
from widelimit.report.chart import figure_chart, panel_chart
from widelimit.report.page import Section, write_page

__all__ = ["Section", "build_report", "figure_chart", "panel_chart", "write_page"]
