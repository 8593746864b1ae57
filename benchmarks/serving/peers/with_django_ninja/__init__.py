"""The page of users with django-ninja and Django's models, as their documentation shows them."""
