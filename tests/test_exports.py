import importlib
import inspect
import pkgutil

import pytest

import model
import training

MODULES = sorted(
    each.name
    for package in (model, training)
    for each in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    if not each.ispkg and not each.name.endswith(".__main__")
)


@pytest.mark.parametrize("name", MODULES)
def test_exports_are_the_public_names_that_a_module_defines(name: str) -> None:
    module = importlib.import_module(name)
    defined = {key for key, value in vars(module).items() if getattr(value, "__module__", None) == name}
    defined = {key for key in defined if not key.startswith("_")}
    assert defined <= set(module.__all__)
    assert len(module.__all__) == len(set(module.__all__))
    assert all(hasattr(module, key) for key in module.__all__)


@pytest.mark.parametrize("name", MODULES)
def test_every_public_function_and_class_says_what_it_is_for(name: str) -> None:
    module = importlib.import_module(name)
    public = [getattr(module, key) for key in module.__all__]
    assert module.__doc__
    assert all(value.__doc__ for value in public if inspect.isclass(value) or inspect.isfunction(value))
