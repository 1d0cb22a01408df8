"""The base of the logs' pages: paged by key, never counted, and bounded in what one page may scan."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import Any, ClassVar
from uuid import UUID

from django.contrib import messages
from django.contrib.admin import ShowFacets
from django.contrib.admin.utils import unquote
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db.models import Model, Prefetch, Q, QuerySet
from django.db.models.expressions import Combinable
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from hookhub.admin.base import PluralTitle, ReadOnly
from hookhub.admin.filters import TIMES, LogFilter
from hookhub.admin.keyset import NEWEST_FIRST, Key, Order, Page, read_page

OLDER, NEWER = "older", "newer"


@dataclass(frozen=True, slots=True)
class LogIndex:
    """An index of a log's table: the filters that it serves, and the order in which it returns their rows.

    A filter is its parameter, or ``parameter=value`` where the index serves that value only.
    """

    name: str
    filters: tuple[str, ...]
    order: Order = NEWEST_FIRST

    def is_for(self, active: Mapping[str, str]) -> bool:
        """Return whether the active filters, as values by parameter, include all that this index serves."""
        given = {*active, *(f"{name}={value}" for name, value in active.items())}
        return given.issuperset(self.filters)

    @property
    def parameters(self) -> set[str]:
        """Return the parameters of the filters that it serves; ids begin with the time, so their order serves those."""
        times = TIMES if self.order == NEWEST_FIRST else set()
        return {served.partition("=")[0] for served in self.filters} | times


class LogChangeList(ChangeList):
    """Django's change list with keyset pagination."""

    model_admin: "LogAdmin"
    page: Page

    def get_queryset(self, request: HttpRequest, exclude_parameters: list[str | None] | None = None) -> QuerySet[Any]:
        """Return the rows that the filters find; the position in the log is not a filter."""
        for name in (OLDER, NEWER):
            self.params.pop(name, None)
            self.filter_params.pop(name, None)
        found: QuerySet[Any] = super().get_queryset(request, exclude_parameters)
        return found

    def get_ordering(self, request: HttpRequest, queryset: QuerySet[Any]) -> list[str | Combinable]:
        """Return the log's own order, which cannot be changed."""
        return [*self.index.order.order_by()]

    @property
    def index(self) -> LogIndex:
        """Return the index that serves the active filters best."""
        return self.model_admin.index_for(self.active_filters)

    @property
    def active_filters(self) -> dict[str, str]:
        """Return the values of the active filters, by parameter."""
        return {spec.parameter_name: value for spec in self._specs if (value := spec.value())}

    @property
    def _specs(self) -> list[LogFilter]:
        return [spec for spec in self.filter_specs if isinstance(spec, LogFilter)]

    def get_results(self, request: HttpRequest) -> None:
        """Read one page, without counting anything."""
        backwards = NEWER in request.GET
        rows = self.queryset.prefetch_related(*self.model_admin.prefetches)
        self.page = read_page(
            rows.only(*self.model_admin.columns),
            order=self.index.order,
            start=self._start(request, request.GET.get(NEWER if backwards else OLDER)),
            backwards=backwards,
            size=self.list_per_page,
            served=self._served_rows(request),
        )
        self.result_list = self.page.rows
        self.result_count = len(self.page.rows)
        self.paginator = Paginator(self.page.rows, self.list_per_page)
        self.show_full_result_count = self.can_show_all = self.multi_page = False
        self.full_result_count = None
        self.show_admin_actions = bool(self.page.rows)

    def _start(self, request: HttpRequest, text: str | None) -> Key | None:
        if not text:
            return None
        try:
            return self.index.order.parse(text, self.model)
        except ValueError as error:
            messages.error(request, f"Invalid page link: {error}. Showing the first page.")
            return None

    def _served_rows(self, request: HttpRequest) -> QuerySet[Any] | None:
        """Return the rows found by those filters that the index serves, or None if it serves all of them."""
        served = self.index.parameters
        # A search by id uses the primary key, whatever the filters are.
        if self.query or served >= self.active_filters.keys() or self.queryset.query.is_empty():
            return None
        rows = self.root_queryset
        for spec in self._specs:
            if spec.parameter_name in served:
                rows = spec.queryset(request, rows)
        return rows

    @property
    def newer_address(self) -> str | None:
        """Return the URL of the previous page, or None on the first one."""
        return self.page.newer and self.get_query_string({NEWER: self.page.newer})

    @property
    def older_address(self) -> str | None:
        """Return the URL of the next page, or None on the last one."""
        return self.page.older and self.get_query_string({OLDER: self.page.older})


class LogAdmin(PluralTitle, ReadOnly):
    """A read-only log, newest first: no counting, no sorting, no deep offsets, and only the declared filters."""

    show_full_result_count = False
    show_facets = ShowFacets.NEVER
    sortable_by = ()
    # What a list shows of other tables is loaded by ``prefetches``, so no joins.
    list_select_related = ()
    list_per_page = 100
    change_list_template = "hookhub/admin/log.html"
    key_lookups = ()
    # The columns that the list loads; large ones are left out.
    columns: Sequence[str] = ()
    prefetches: ClassVar[Sequence["Prefetch[Any]"]] = ()
    # The first that is for the active filters is used; the primary key, if none is.
    indexes: ClassVar[Sequence[LogIndex]] = ()

    def index_for(self, active: Mapping[str, str]) -> LogIndex:
        """Return the index that serves these filters, given as values by parameter."""
        primary_key = LogIndex(f"{self.opts.db_table}_pkey", ())
        return next((index for index in self.indexes if index.is_for(active)), primary_key)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        """Return the change list with keyset pagination."""
        return LogChangeList

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Return the rows with this id in a search field; a term that is not an id shows an error message."""
        term = search_term.strip()
        if not term:
            return queryset, False
        try:
            found_id = UUID(term)
        except ValueError:
            messages.error(request, f"Search: {term[:100]!r} is not a valid ID.")
            return queryset.none(), False
        columns = dict.fromkeys(("id", *self.search_fields))
        return queryset.filter(reduce(or_, (Q((column, found_id)) for column in columns))), False

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show one row on a page of its own."""
        return self.show(request, self.find(request, object_id))

    def show(self, request: HttpRequest, found: Any) -> HttpResponse:
        """Return the page of a row."""
        raise NotImplementedError

    def render(self, request: HttpRequest, template: str, shown: Model, **context: object) -> HttpResponse:
        """Render the template of a row's own page."""
        return TemplateResponse(
            request,
            template,
            {
                **self.admin_site.each_context(request),
                "title": f"{self.opts.verbose_name} {shown.pk}".capitalize(),
                "opts": self.opts,
                "original": shown,
                "has_view_permission": True,
                "media": self.media,
                **context,
            },
        )

    def find(self, request: HttpRequest, object_id: str) -> Any:
        """Return the object with this id; raise PermissionDenied, or Http404 if the user cannot see it."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        found = self.get_object(request, unquote(object_id))
        if found is None:
            raise Http404
        return found
