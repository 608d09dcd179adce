"""The paper's runs as settings: frozen dataclasses, and what turns them into arguments."""
