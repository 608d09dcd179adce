"""Recipes: settings as frozen dataclasses, and what turns them into arguments."""
