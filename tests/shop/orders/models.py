"""Customers, who log in by e-mail and have a UUID, and their orders."""

import uuid

from django.contrib.auth.models import AbstractBaseUser, BaseUserManager, PermissionsMixin
from django.db import models

# Where a project would have it: while the models are being loaded.
from hookhub import publish


class Customers(BaseUserManager):
    def create_superuser(self, email, password):
        customer = self.model(email=email, is_staff=True, is_superuser=True)
        customer.set_password(password)
        customer.save(using=self._db)
        return customer


class Customer(AbstractBaseUser, PermissionsMixin):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    email = models.EmailField(unique=True)
    is_active = models.BooleanField(default=True)
    is_staff = models.BooleanField(default=False)
    # HookHub must not need the name.
    memberships = models.PositiveIntegerField(default=0)

    objects = Customers()
    USERNAME_FIELD = "email"


class Order(models.Model):
    name = models.CharField(max_length=50)
    made_at = models.DateTimeField(auto_now_add=True)

    def __str__(self):
        return self.name

    def pay(self):
        """Store the order and say so."""
        self.save()
        return publish("order.paid", {"order": self.pk, "at": self.made_at}, organization="acme")
