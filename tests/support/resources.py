"""Resources in rendered services, added as the message after the copy says."""

import shutil
from pathlib import Path

from tools.render import render

from .services import Service

# with every kind of field; `customer` is another resource
ALL_KINDS = (
    "owner:user title:str(100) price:decimal(12,2)=0 status:enum(draft,paid)#=draft due:date? "
    "note:text? tags:json sku:str(20)! customer:ref(customer,cascade) parent:ref(order,set_null)? "
    "count:int#=1 size:bigint# ratio:float=0.5 is_open:bool=true token:uuid! placed:datetime# "
    "weight:decimal(6,3)#? day:date# label:str=none"
)
CUSTOMER = "name:str(50)! born:date# level:enum(new,old)#"


def add(
    template: Path, folder: Path, resource: str, fields: str, ref: str = "HEAD", **answers: str
) -> None:
    """Render a resource into a service, like `copier copy --defaults`, without `--trust`.

    Raises:
        ValueError: an answer is invalid.
    """
    data = {"kind": "resource", "resource": resource, "fields": fields, **answers}
    render(template, folder, data, ref)


def lines(package: str, plural: str) -> list[tuple[str, str, str]]:
    """List the lines that wire a resource: their file, the line before or after, and the line."""
    return [
        (
            f"{package}/database/config.py",
            '    f"{__package__}.models",\n',
            f'    "{package}.{plural}.models",\n',
        ),
        (
            f"{package}/main.py",
            "from .settings import settings\n",
            f"from .{plural}.router import router as {plural}\n",
        ),
        (
            f"{package}/main.py",
            "    app.include_router(health.router)\n",
            f"    app.include_router({plural}, prefix=settings.api_prefix)\n",
        ),
    ]


def wire(service: Service, *plurals: str) -> None:
    """Add the lines of resources, and sort the imports, as the message says."""
    for plural in plurals:
        for path, place, line in lines(service.package, plural):
            service.edit(path, place, place + line)
    service.run("ruff", "check", "--fix", "--no-cache")


def remove(service: Service, plural: str) -> None:
    """Delete a resource's files and lines."""
    shutil.rmtree(service.folder / service.package / plural)
    (service.folder / "tests" / f"test_{plural}.py").unlink()
    for path, _, line in lines(service.package, plural):
        service.edit(path, line, "")
