"""The Glue job as a backup holds it, as it is now, and the way from the one to the other."""

from typing import Any

from ops.aws import or_none, own_tags
from ops.environment import Environment

# A job sized by workers shows these two as well, and is refused with them.
DERIVED = {"AllocatedCapacity", "MaxCapacity"}
NOTHING = (None, "", {}, [])

Job = dict[str, Any]


class GlueJob:
    """Reads the job and brings it to what was read."""

    def __init__(self, environment: Environment):
        self._glue = environment.client("glue")
        self.name = f"{environment.prefix}-etl"
        self._arn = f"arn:aws:glue:{environment.region}:{environment.account_id}:job/{self.name}"

    def read(self) -> Job | None:
        """Return the job's definition and tags; None where it is gone."""
        found = or_none(self._glue.get_job, JobName=self.name)
        if found is None:
            return None
        settable = self._glue.meta.service_model.shape_for("JobUpdate").members
        left_out = DERIVED if "WorkerType" in found["Job"] else set()
        definition = {
            name: value
            for name, value in found["Job"].items()
            if name in settable and name not in left_out and value not in NOTHING
        }
        tags = self._glue.get_tags(ResourceArn=self._arn)["Tags"]
        return {"definition": definition, "tags": own_tags(tags)}

    def create(self, job: Job) -> None:
        """Create the job that is gone."""
        self._glue.create_job(Name=self.name, Tags=job["tags"], **job["definition"])

    def restore(self, job: Job) -> None:
        """Bring definition and tags to what was backed up."""
        found = self.read()
        if found["definition"] != job["definition"]:
            self._glue.update_job(JobName=self.name, JobUpdate=job["definition"])
        if added := dict(job["tags"].items() - found["tags"].items()):
            self._glue.tag_resource(ResourceArn=self._arn, TagsToAdd=added)
        if dropped := sorted(found["tags"].keys() - job["tags"].keys()):
            self._glue.untag_resource(ResourceArn=self._arn, TagsToRemove=dropped)
