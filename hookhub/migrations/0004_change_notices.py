"""Create triggers that notify web processes of every change to the rows they cache, however it is made."""

from django.db import migrations

# Only columns that decide whether a request is accepted: ``last_used_at`` is written once a minute.
ANNOUNCE = """
CREATE FUNCTION hookhub_announce_change() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    old_row jsonb := CASE WHEN TG_OP = 'INSERT' THEN NULL ELSE to_jsonb(OLD) END;
    new_row jsonb := CASE WHEN TG_OP = 'DELETE' THEN NULL ELSE to_jsonb(NEW) END;
BEGIN
    PERFORM pg_notify('hookhub_changes', TG_ARGV[0] || ':' || (coalesce(old_row, new_row) ->> TG_ARGV[1]));
    RETURN NULL;
END
$$;
CREATE TRIGGER announce_api_key_change
    AFTER DELETE OR UPDATE OF organization_id, scope, key_id, secret_hash, previous_secret_hash,
        previous_secret_expires_at, allowed_networks, expires_at, revoked_at
    ON hookhub_apikey FOR EACH ROW EXECUTE FUNCTION hookhub_announce_change('api_key', 'key_id');
CREATE TRIGGER announce_event_type_change AFTER INSERT OR UPDATE OR DELETE
    ON hookhub_owneventtype FOR EACH ROW EXECUTE FUNCTION hookhub_announce_change('event_types', 'organization_id');
CREATE TRIGGER announce_organization_change AFTER UPDATE OR DELETE
    ON deliveries_organization FOR EACH ROW EXECUTE FUNCTION hookhub_announce_change('organization', 'id');
CREATE TRIGGER announce_repository_change AFTER DELETE OR UPDATE OF organization_id, name
    ON deliveries_repository FOR EACH ROW EXECUTE FUNCTION hookhub_announce_change('organization', 'organization_id');
"""

SILENCE = """
DROP TRIGGER announce_repository_change ON deliveries_repository;
DROP TRIGGER announce_organization_change ON deliveries_organization;
DROP TRIGGER announce_event_type_change ON hookhub_owneventtype;
DROP TRIGGER announce_api_key_change ON hookhub_apikey;
DROP FUNCTION hookhub_announce_change();
"""


class Migration(migrations.Migration):
    dependencies = [("deliveries", "0012_limits"), ("hookhub", "0003_api_key_lifetimes")]

    operations = [migrations.RunSQL(ANNOUNCE, SILENCE)]
