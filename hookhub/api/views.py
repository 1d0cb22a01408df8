"""The base of the views under ``/v1``."""

from typing import TypeVar

from django.db.models import Model

from hookhub.api.openapi import ApiSchema
from hookhub.http import views

Row = TypeVar("Row", bound=Model)


class APIView(views.APIView):
    """A view that reads and answers JSON."""

    schema = ApiSchema()


class GenericAPIView(views.GenericAPIView[Row]):
    """A view of the rows of a model."""

    schema = ApiSchema()
