-- What Redshift has and PostgreSQL lacks, or has with another meaning. Run once in template1, so that
-- every database of a warehouse is made with it. The schema stands before pg_catalog in the search path.

-- Every user may use and create in the schema public, as on Redshift.
GRANT USAGE, CREATE ON SCHEMA public TO PUBLIC;

CREATE SCHEMA redshift_catalog;
GRANT USAGE ON SCHEMA redshift_catalog TO PUBLIC;
SET search_path = redshift_catalog, pg_catalog;

-- ---- dates: local time is UTC; a difference counts the boundaries that lie between ------------------------------------

CREATE FUNCTION getdate() RETURNS timestamp STABLE LANGUAGE sql
  RETURN date_trunc('second', statement_timestamp() AT TIME ZONE 'UTC');

CREATE FUNCTION sysdate() RETURNS timestamp STABLE LANGUAGE sql
  RETURN transaction_timestamp() AT TIME ZONE 'UTC';

CREATE FUNCTION date_unit(part text) RETURNS text IMMUTABLE STRICT LANGUAGE plpgsql AS $$
BEGIN
  RETURN CASE
    WHEN lower(part) IN ('microsecond', 'microseconds', 'microsec', 'microsecs', 'usec', 'us') THEN 'microsecond'
    WHEN lower(part) IN ('millisecond', 'milliseconds', 'millisec', 'millisecs', 'msec', 'ms') THEN 'millisecond'
    WHEN lower(part) IN ('second', 'seconds', 'sec', 'secs', 's') THEN 'second'
    WHEN lower(part) IN ('minute', 'minutes', 'min', 'mins', 'm') THEN 'minute'
    WHEN lower(part) IN ('hour', 'hours', 'hr', 'hrs', 'h') THEN 'hour'
    WHEN lower(part) IN ('day', 'days', 'd') THEN 'day'
    WHEN lower(part) IN ('week', 'weeks', 'w') THEN 'week'
    WHEN lower(part) IN ('month', 'months', 'mon', 'mons') THEN 'month'
    WHEN lower(part) IN ('quarter', 'quarters', 'qtr', 'qtrs') THEN 'quarter'
    WHEN lower(part) IN ('year', 'years', 'yr', 'yrs', 'y') THEN 'year'
  END;
END $$;

CREATE FUNCTION dateadd(part text, amount bigint, moment timestamp) RETURNS timestamp
  IMMUTABLE STRICT LANGUAGE plpgsql AS $$
DECLARE
  unit text := date_unit(part);
BEGIN
  IF unit IS NULL THEN
    RAISE EXCEPTION 'invalid date part "%" for DATEADD', part USING ERRCODE = '22023';
  ELSIF unit = 'quarter' THEN
    RETURN moment + amount * 3 * interval '1 month';
  END IF;
  RETURN moment + amount * ('1 ' || unit)::interval;
END $$;

CREATE FUNCTION datediff(part text, begins timestamp, ends timestamp) RETURNS bigint
  IMMUTABLE STRICT LANGUAGE plpgsql AS $$
DECLARE
  unit text := date_unit(part);
  months bigint := (extract(year FROM ends) - extract(year FROM begins)) * 12
                 + extract(month FROM ends) - extract(month FROM begins);
BEGIN
  CASE unit
    WHEN 'year' THEN RETURN extract(year FROM ends) - extract(year FROM begins);
    WHEN 'quarter' THEN RETURN (extract(year FROM ends) - extract(year FROM begins)) * 4
                             + extract(quarter FROM ends) - extract(quarter FROM begins);
    WHEN 'month' THEN RETURN months;
    WHEN 'week' THEN RETURN (date_trunc('week', ends)::date - date_trunc('week', begins)::date) / 7;
    WHEN 'day' THEN RETURN ends::date - begins::date;
    WHEN 'hour' THEN RETURN extract(epoch FROM date_trunc('hour', ends) - date_trunc('hour', begins)) / 3600;
    WHEN 'minute' THEN RETURN extract(epoch FROM date_trunc('minute', ends) - date_trunc('minute', begins)) / 60;
    WHEN 'second' THEN RETURN extract(epoch FROM date_trunc('second', ends) - date_trunc('second', begins));
    WHEN 'millisecond' THEN
      RETURN extract(epoch FROM date_trunc('milliseconds', ends) - date_trunc('milliseconds', begins)) * 1000;
    WHEN 'microsecond' THEN RETURN extract(epoch FROM ends - begins) * 1000000;
    ELSE RAISE EXCEPTION 'invalid date part "%" for DATEDIFF', part USING ERRCODE = '22023';
  END CASE;
END $$;

CREATE FUNCTION last_day(moment timestamp) RETURNS date IMMUTABLE STRICT LANGUAGE sql
  RETURN (date_trunc('month', moment) + interval '1 month - 1 day')::date;

CREATE FUNCTION add_months(moment timestamp, amount bigint) RETURNS timestamp IMMUTABLE STRICT LANGUAGE sql
  RETURN CASE  -- the last day of a month stays a last day
    WHEN moment::date = last_day(moment) THEN last_day(moment + amount * interval '1 month') + moment::time
    ELSE moment + amount * interval '1 month'
  END;

CREATE FUNCTION convert_timezone(source text, target text, moment timestamp) RETURNS timestamp
  IMMUTABLE STRICT LANGUAGE sql RETURN moment AT TIME ZONE source AT TIME ZONE target;

CREATE FUNCTION convert_timezone(target text, moment timestamp) RETURNS timestamp
  IMMUTABLE STRICT LANGUAGE sql RETURN moment AT TIME ZONE 'UTC' AT TIME ZONE target;

CREATE FUNCTION trunc(moment timestamp) RETURNS date IMMUTABLE STRICT LANGUAGE sql RETURN moment::date;

-- ---- numbers and text -------------------------------------------------------------------------------------------------

CREATE FUNCTION strtol(digits text, base int) RETURNS bigint IMMUTABLE STRICT LANGUAGE plpgsql AS $$
DECLARE
  word text;
  negative boolean;
  total numeric := 0;
  value int;
BEGIN
  -- The usual case, a part of a hash, runs for every row of a table.
  IF base = 16 AND length(digits) BETWEEN 1 AND 15 AND translate(digits, '0123456789abcdef', '') = '' THEN
    RETURN ('x' || lpad(digits, 16, '0'))::bit(64)::bigint;
  END IF;
  word := lower(btrim(digits));
  negative := word LIKE '-%';
  IF base NOT BETWEEN 2 AND 36 THEN
    RAISE EXCEPTION 'The base % of STRTOL is not between 2 and 36', base USING ERRCODE = '22023';
  END IF;
  word := ltrim(word, '+-');
  IF base = 16 AND word LIKE '0x%' THEN
    word := substr(word, 3);
  END IF;
  IF word = '' THEN
    RAISE EXCEPTION 'The input "%" is not valid to be converted to base %', digits, base USING ERRCODE = '22023';
  END IF;
  FOREACH word IN ARRAY string_to_array(word, NULL) LOOP
    value := strpos('0123456789abcdefghijklmnopqrstuvwxyz', word) - 1;
    IF value < 0 OR value >= base THEN
      RAISE EXCEPTION 'The input "%" is not valid to be converted to base %', digits, base USING ERRCODE = '22023';
    END IF;
    total := total * base + value;
  END LOOP;
  RETURN CASE WHEN negative THEN -total ELSE total END;
END $$;

CREATE FUNCTION len(word text) RETURNS int IMMUTABLE STRICT LANGUAGE sql RETURN char_length(word);
CREATE FUNCTION charindex(part text, word text) RETURNS int IMMUTABLE STRICT LANGUAGE sql RETURN strpos(word, part);
CREATE FUNCTION round(value float8, digits int) RETURNS float8 IMMUTABLE STRICT LANGUAGE sql
  RETURN pg_catalog.round(value::numeric, digits)::float8;
-- Unlike PostgreSQL's, Redshift's CONCAT takes two arguments, and NULL makes NULL.
CREATE FUNCTION concat(a text, b text) RETURNS text IMMUTABLE STRICT LANGUAGE sql RETURN a || b;
CREATE FUNCTION sha2(word text, bits int) RETURNS text IMMUTABLE STRICT LANGUAGE sql
  RETURN CASE bits
    WHEN 224 THEN encode(sha224(convert_to(word, 'UTF8')), 'hex')
    WHEN 384 THEN encode(sha384(convert_to(word, 'UTF8')), 'hex')
    WHEN 512 THEN encode(sha512(convert_to(word, 'UTF8')), 'hex')
    ELSE encode(sha256(convert_to(word, 'UTF8')), 'hex')
  END;
CREATE FUNCTION json_parse(word text) RETURNS jsonb IMMUTABLE STRICT LANGUAGE sql RETURN word::jsonb;
CREATE FUNCTION json_serialize(value jsonb) RETURNS text IMMUTABLE STRICT LANGUAGE sql RETURN value::text;

-- CAST(x AS VARCHAR(n)) keeps as many whole characters as fit into n bytes.
CREATE FUNCTION cut_bytes(word text, bytes int) RETURNS text IMMUTABLE STRICT LANGUAGE plpgsql AS $$
DECLARE
  fitting text := left(word, bytes);
BEGIN
  WHILE octet_length(fitting) > bytes LOOP
    fitting := left(fitting, -1);
  END LOOP;
  RETURN fitting;
END $$;
CREATE FUNCTION left_bytes(word text, bytes int) RETURNS text IMMUTABLE LANGUAGE sql
  RETURN CASE WHEN octet_length(word) <= bytes THEN word ELSE cut_bytes(word, bytes) END;

-- ---- aggregates -------------------------------------------------------------------------------------------------------

-- The average of integers is an integer.
CREATE FUNCTION average_add(state numeric[], value bigint) RETURNS numeric[] IMMUTABLE STRICT LANGUAGE sql
  RETURN ARRAY[state[1] + value, state[2] + 1];
CREATE FUNCTION average_end(state numeric[]) RETURNS bigint IMMUTABLE STRICT LANGUAGE sql
  RETURN CASE WHEN state[2] > 0 THEN pg_catalog.trunc(state[1] / state[2])::bigint END;
CREATE AGGREGATE avg(bigint) (sfunc = average_add, stype = numeric[], initcond = '{0,0}', finalfunc = average_end);
CREATE FUNCTION average_end(state bigint[]) RETURNS bigint IMMUTABLE STRICT LANGUAGE sql
  RETURN CASE WHEN state[1] > 0 THEN state[2] / state[1] END;
CREATE AGGREGATE avg(int) (sfunc = int4_avg_accum, stype = bigint[], initcond = '{0,0}', finalfunc = average_end);
CREATE AGGREGATE avg(smallint) (sfunc = int2_avg_accum, stype = bigint[], initcond = '{0,0}', finalfunc = average_end);

CREATE FUNCTION listagg_add(state text, value anynonarray, separator text) RETURNS text
  IMMUTABLE LANGUAGE plpgsql AS $$
BEGIN
  IF value IS NULL THEN
    RETURN state;
  END IF;
  state := coalesce(state || coalesce(separator, ''), '') || value::text;
  IF octet_length(state) > 65535 THEN
    RAISE EXCEPTION 'Result size exceeds LISTAGG limit' USING
      ERRCODE = 'XX000', DETAIL = 'The maximum size of LISTAGG''s result is 65535 bytes';
  END IF;
  RETURN state;
END $$;
CREATE FUNCTION listagg_add(state text, value anynonarray) RETURNS text IMMUTABLE LANGUAGE sql AS $$
  SELECT redshift_catalog.listagg_add(state, value, '')
$$;
CREATE AGGREGATE listagg(anynonarray, text) (sfunc = listagg_add, stype = text);
CREATE AGGREGATE listagg(anynonarray) (sfunc = listagg_add, stype = text);

-- ---- tables: keys that PostgreSQL has no place for, and lengths in bytes ----------------------------------------------

CREATE TABLE table_keys (
  relation oid PRIMARY KEY,
  diststyle text NOT NULL,
  distkey text,
  sortkeys text[] NOT NULL,
  encodings jsonb NOT NULL
);

CREATE PROCEDURE set_table_keys(relation regclass, diststyle text, distkey text, sortkeys text[], encodings jsonb)
  SECURITY DEFINER SET search_path = redshift_catalog, pg_catalog, pg_temp LANGUAGE plpgsql AS $$
DECLARE
  name text;
BEGIN
  FOREACH name IN ARRAY array_remove(distkey || sortkeys, NULL) LOOP
    IF NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = relation AND attname = name AND attnum > 0) THEN
      RAISE EXCEPTION 'column "%" named in key does not exist', name USING ERRCODE = '42703';
    END IF;
  END LOOP;
  INSERT INTO table_keys VALUES (relation, diststyle, distkey, sortkeys, encodings) ON CONFLICT DO NOTHING;
END $$;

CREATE PROCEDURE copy_table_keys(source regclass, target regclass)
  SECURITY DEFINER SET search_path = redshift_catalog, pg_catalog, pg_temp LANGUAGE sql AS $$
  INSERT INTO table_keys
    SELECT target, diststyle, distkey, sortkeys, encodings FROM table_keys WHERE relation = source
    ON CONFLICT DO NOTHING
$$;

CREATE FUNCTION require_table(relation regclass) RETURNS void STABLE LANGUAGE plpgsql AS $$
BEGIN
  IF (SELECT relkind FROM pg_class WHERE oid = relation) NOT IN ('r', 'p') THEN
    RAISE EXCEPTION 'source_table of MERGE can''t be a view or a subquery' USING ERRCODE = '0A000';
  END IF;
END $$;

-- ALTER TABLE target APPEND FROM source: the rows move; the caller empties the source.
CREATE FUNCTION append_table(target regclass, source regclass) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  names text;
BEGIN
  IF EXISTS (
    SELECT attname, atttypid, atttypmod FROM pg_attribute
    WHERE attrelid IN (target, source) AND attnum > 0 AND NOT attisdropped
    GROUP BY attname, atttypid, atttypmod HAVING count(*) <> 2
  ) THEN
    RAISE EXCEPTION 'ALTER TABLE APPEND: the columns of % and % differ', target, source USING ERRCODE = '42804';
  END IF;
  SELECT string_agg(quote_ident(attname), ', ') INTO names
  FROM pg_attribute WHERE attrelid = target AND attnum > 0 AND NOT attisdropped;
  EXECUTE format('INSERT INTO %s (%s) SELECT %s FROM %s', target, names, names, source);
END $$;

-- After every CREATE or ALTER TABLE: each CHAR(n) and VARCHAR(n) column gets a check on its bytes.
CREATE FUNCTION check_bytes() RETURNS event_trigger
  SECURITY DEFINER SET search_path = redshift_catalog, pg_catalog, pg_temp LANGUAGE plpgsql AS $$
DECLARE
  change record;
BEGIN
  -- One ALTER TABLE a table: it fires this trigger again, which then finds nothing to do.
  FOR change IN
    SELECT c.oid::regclass AS relation,
           string_agg(concat_ws(', ', format('DROP CONSTRAINT IF EXISTS bytes_%s', a.attnum),
                                format('ADD CONSTRAINT bytes_%s CHECK (octet_length(%I) <= %s)',
                                       a.attnum, a.attname, a.atttypmod - 4)), ', ') AS actions
    FROM pg_event_trigger_ddl_commands() AS command
    JOIN pg_class AS c ON c.oid = command.objid AND c.relkind IN ('r', 'p')
    JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    LEFT JOIN pg_constraint AS old ON old.conrelid = c.oid AND old.conname = 'bytes_' || a.attnum
    WHERE command.classid = 'pg_class'::regclass
      AND a.atttypid IN ('varchar'::regtype, 'bpchar'::regtype) AND a.atttypmod > 4
      AND coalesce(pg_get_constraintdef(old.oid) NOT LIKE '%<= ' || (a.atttypmod - 4) || ')%', true)
    GROUP BY c.oid
  LOOP
    EXECUTE format('ALTER TABLE %s %s', change.relation, change.actions);
  END LOOP;
END $$;
CREATE EVENT TRIGGER check_bytes ON ddl_command_end
  WHEN TAG IN ('CREATE TABLE', 'CREATE TABLE AS', 'SELECT INTO', 'ALTER TABLE')
  EXECUTE FUNCTION check_bytes();

CREATE FUNCTION forget_keys() RETURNS event_trigger
  SECURITY DEFINER SET search_path = redshift_catalog, pg_catalog, pg_temp LANGUAGE plpgsql AS $$
BEGIN
  DELETE FROM table_keys WHERE relation IN (SELECT objid FROM pg_event_trigger_dropped_objects());
END $$;
CREATE EVENT TRIGGER forget_keys ON sql_drop WHEN TAG IN ('DROP TABLE', 'DROP SCHEMA')
  EXECUTE FUNCTION forget_keys();

CREATE FUNCTION type_name(type oid, modifier int) RETURNS text STABLE LANGUAGE sql
  RETURN CASE type
    WHEN 'text'::regtype THEN 'character varying(65535)'
    WHEN 'jsonb'::regtype THEN 'super'
    ELSE format_type(type, modifier)
  END;

CREATE VIEW pg_table_def AS
  SELECT n.nspname AS schemaname, c.relname AS tablename, a.attname AS "column",
         type_name(a.atttypid, a.atttypmod) AS type,
         coalesce(k.encodings ->> a.attname, 'none') AS encoding,
         coalesce(k.distkey = a.attname, false) AS distkey,
         coalesce(array_position(k.sortkeys, a.attname::text), 0) AS sortkey,
         a.attnotnull AS "notnull"
  FROM pg_class AS c
  JOIN pg_namespace AS n ON n.oid = c.relnamespace
  JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
  LEFT JOIN table_keys AS k ON k.relation = c.oid
  WHERE c.relkind IN ('r', 'p') AND n.nspname <> 'redshift_catalog' AND pg_table_is_visible(c.oid)
  ORDER BY n.nspname, c.relname, a.attnum;

-- ---- loads ------------------------------------------------------------------------------------------------------------

CREATE TABLE stl_load_errors (
  userid int NOT NULL DEFAULT 0,
  tbl oid,
  starttime timestamp NOT NULL DEFAULT getdate(),
  query bigint NOT NULL,
  filename varchar(256),
  line_number bigint,
  colname varchar(127),
  type varchar(10),
  position int NOT NULL DEFAULT 0,
  raw_line varchar(1024),
  raw_field_value varchar(1024),
  err_code int,
  err_reason varchar(100)
);

CREATE TABLE sys_load_history (
  query_id bigint NOT NULL,
  status text NOT NULL,
  table_name text NOT NULL,
  start_time timestamp NOT NULL,
  end_time timestamp NOT NULL DEFAULT (clock_timestamp() AT TIME ZONE 'UTC'),
  data_source text NOT NULL,
  file_format text NOT NULL,
  loaded_rows bigint NOT NULL,
  loaded_bytes bigint NOT NULL,
  source_file_count int NOT NULL,
  error_message text
);

-- COPY runs as the user of the statement, who may not write to the history by hand.
CREATE FUNCTION record_load(
  relation text, begun timestamp, source text, format text, loaded_row_count bigint, bytes bigint, files int
) RETURNS void SECURITY DEFINER SET search_path = redshift_catalog, pg_catalog, pg_temp LANGUAGE sql AS $$
  INSERT INTO sys_load_history
    (query_id, status, table_name, start_time, data_source, file_format, loaded_rows, loaded_bytes, source_file_count)
  VALUES (txid_current(), 'completed', relation, begun, source, format, loaded_row_count, bytes, files)
$$;

GRANT EXECUTE ON ALL ROUTINES IN SCHEMA redshift_catalog TO PUBLIC;
GRANT SELECT ON pg_table_def, stl_load_errors, sys_load_history TO PUBLIC;
