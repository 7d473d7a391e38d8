"""Stores a shipment and tells the world about it, in one transaction: append.py ORDER CARRIER.

DATABASE_URL names a database in which the outbox is (`outbox-relay migrate`).
"""

import json
import os
import sys
from urllib.parse import unquote, urlsplit

import pg8000.dbapi

url = urlsplit(os.environ["DATABASE_URL"])
connection = pg8000.dbapi.connect(
    user=unquote(url.username),
    password=unquote(url.password or ""),
    host=url.hostname,
    port=url.port or 5432,
    database=url.path.lstrip("/"),
)
order, carrier = sys.argv[1:]
cursor = connection.cursor()
cursor.execute("create table if not exists shipments (order_id text primary key, carrier text not null)")
cursor.execute("insert into shipments values (%s, %s)", (order, carrier))
# Topic, key, type, payload. It locks the key until the commit, so that two writers of one key are in order.
cursor.execute(
    "select saga.append_event(%s, %s, %s, cast(%s as jsonb))",
    ("shipment-events", order, "shipment.sent", json.dumps({"order_id": order, "carrier": carrier})),
)
connection.commit()
