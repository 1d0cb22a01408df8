"""The admin's forms, which validate with the same rules as the API."""

from typing import TYPE_CHECKING, Any

from django import forms

if TYPE_CHECKING:
    ModelForm = forms.ModelForm[Any]
else:
    # Generic in the type stubs only, not at run time.
    ModelForm = forms.ModelForm
