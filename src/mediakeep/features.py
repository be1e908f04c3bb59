"""Every feature's tables and tasks, imported so that the schema and the workers know them."""

from mediakeep.accounts import models as _accounts
from mediakeep.accounts import tasks as _accounts_tasks
from mediakeep.assets import cdn as _cdn_tasks
from mediakeep.assets import models as _assets
from mediakeep.assets import tasks as _assets_tasks
from mediakeep.collections import models as _collections
from mediakeep.db import Base
from mediakeep.events import models as _events
from mediakeep.events import tasks as _events_tasks
from mediakeep.files import models as _files
from mediakeep.files import tasks as _files_tasks
from mediakeep.index import models as _index
from mediakeep.jobs import models as _jobs
from mediakeep.jobs import tasks as _jobs_tasks
from mediakeep.search import tasks as _search_tasks
from mediakeep.tasks import models as _tasks
from mediakeep.tasks import tasks as _tasks_tasks
from mediakeep.webhooks import jobs as _webhooks_jobs
from mediakeep.webhooks import models as _webhooks
from mediakeep.webhooks import tasks as _webhooks_tasks

#: The whole schema, as the models have it.
metadata = Base.metadata

#: The modules whose import registers tasks.
task_modules = (
    _accounts_tasks,
    _assets_tasks,
    _cdn_tasks,
    _events_tasks,
    _files_tasks,
    _jobs_tasks,
    _search_tasks,
    _tasks_tasks,
    _webhooks_tasks,
)

_table_modules = (_accounts, _assets, _collections, _events, _files, _index, _jobs, _tasks, _webhooks)

#: What is told of events, and has no tasks of its own.
_listener_modules = (_webhooks_jobs,)
