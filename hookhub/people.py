"""The people with logins: rows of whatever user model the project has, of which only Django's interface is used."""

from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.base_user import AbstractBaseUser
from django.core.exceptions import FieldDoesNotExist


def name_field() -> str:
    """Return the field by which people log in, such as ``username`` or ``email``."""
    return str(get_user_model().USERNAME_FIELD)


def email_field() -> str | None:
    """Return the field with a person's address, or None if the model has none."""
    model: Any = get_user_model()
    return _existing(model, model.get_email_field_name())


def active_people() -> Any:
    """Return the rows of those who may log in."""
    model: Any = get_user_model()
    rows = model._default_manager.all()
    return rows.filter(is_active=True) if _existing(model, "is_active") else rows


def superusers() -> Any:
    """Return the rows of those who may do everything; none in a model without permissions."""
    rows = active_people()
    return rows.filter(is_superuser=True) if _existing(rows.model, "is_superuser") else rows.none()


def is_superuser(person: Any) -> bool:
    """Return whether a person may do everything."""
    return bool(getattr(person, "is_active", False) and getattr(person, "is_superuser", False))


def full_name_of(person: AbstractBaseUser) -> str:
    """Return a person's full name, or "" if the model knows none."""
    return str(person.get_full_name()) if hasattr(person, "get_full_name") else ""


def _existing(model: Any, name: str) -> str | None:
    try:
        model._meta.get_field(name)
    except FieldDoesNotExist:
        return None
    return name
