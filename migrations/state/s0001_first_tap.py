# SPDX-License-Identifier: EUPL-1.2
"""The first tap: people, cards, the access model, agents and the change log."""

import sqlalchemy as sa
from alembic import op

revision = "s0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "agent",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("code", sa.String(length=40), nullable=False),
        sa.Column("public_key", sa.String(length=64), nullable=False),
        sa.Column("locked", sa.Boolean(), nullable=False),
        sa.Column("enrolled_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_agent")),
        sa.UniqueConstraint("code", name=op.f("uq_agent_code")),
    )
    op.create_table(
        "changes",
        sa.Column("revision", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("row", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("revision", name=op.f("pk_changes")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "directory_copy",
        sa.Column("directory", sa.String(length=40), nullable=False),
        sa.Column("cookie", sa.Text(), nullable=True),
        sa.Column("verified_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("server", sa.Text(), nullable=True),
        sa.Column("mode", sa.String(length=40), nullable=True),
        sa.PrimaryKeyConstraint("directory", name=op.f("pk_directory_copy")),
    )
    op.create_table(
        "directory_group",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("directory", sa.String(length=40), nullable=False),
        sa.Column("stable_id", sa.String(length=64), nullable=False),
        sa.Column("dn", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("members", sa.Text(), nullable=False),
        sa.Column("present", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_directory_group")),
        sa.UniqueConstraint("directory", "stable_id", name=op.f("uq_directory_group_directory_stable_id")),
    )
    op.create_table(
        "organisation",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("code", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_organisation")),
        sa.UniqueConstraint("code", name=op.f("uq_organisation_code")),
    )
    op.create_table(
        "point_class",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("code", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("methods", sa.String(length=40), nullable=False),
        sa.Column("level", sa.Integer(), nullable=False),
        sa.Column("freshness_ms", sa.BigInteger(), nullable=False),
        sa.Column("stale_policy", sa.String(length=10), nullable=False),
        sa.Column("journal_mode", sa.String(length=10), nullable=False),
        sa.Column("open_ms", sa.Integer(), nullable=False),
        sa.Column("answer_budget_ms", sa.Integer(), nullable=False),
        sa.Column("tap_budget_ms", sa.Integer(), nullable=False),
        sa.CheckConstraint("journal_mode IN ('full', 'refusals', 'counts')", name=op.f("ck_point_class_journal_mode")),
        sa.CheckConstraint("stale_policy IN ('deny', 'permit')", name=op.f("ck_point_class_stale_policy")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_point_class")),
        sa.UniqueConstraint("code", name=op.f("uq_point_class_code")),
    )
    op.create_table(
        "schedule",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("code", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("land", sa.String(length=2), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_schedule")),
        sa.UniqueConstraint("code", name=op.f("uq_schedule_code")),
    )
    op.create_table(
        "person",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("organisation_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("directory", sa.String(length=40), nullable=False),
        sa.Column("stable_id", sa.String(length=64), nullable=False),
        sa.Column("dn", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("login", sa.Text(), nullable=True),
        sa.Column("mail", sa.Text(), nullable=True),
        sa.Column("personnel_number", sa.Text(), nullable=True),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("locked_out", sa.Boolean(), nullable=False),
        sa.Column("valid_from_ms", sa.BigInteger(), nullable=True),
        sa.Column("valid_until_ms", sa.BigInteger(), nullable=True),
        sa.Column("present", sa.Boolean(), nullable=False),
        sa.Column("groups", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["organisation_id"], ["organisation.id"], name=op.f("fk_person_organisation_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_person")),
        sa.UniqueConstraint("directory", "stable_id", name=op.f("uq_person_directory_stable_id")),
    )
    op.create_table(
        "point_class_level",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("point_class_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("schedule_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("level", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["point_class_id"], ["point_class.id"], name=op.f("fk_point_class_level_point_class_id")
        ),
        sa.ForeignKeyConstraint(["schedule_id"], ["schedule.id"], name=op.f("fk_point_class_level_schedule_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_point_class_level")),
    )
    op.create_index(op.f("ix_point_class_level_point_class_id"), "point_class_level", ["point_class_id"], unique=False)
    op.create_table(
        "schedule_interval",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("schedule_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("day", sa.Integer(), nullable=False),
        sa.Column("start_minute", sa.Integer(), nullable=False),
        sa.Column("end_minute", sa.Integer(), nullable=False),
        sa.CheckConstraint(
            "0 <= start_minute AND start_minute < end_minute AND end_minute <= 1440",
            name=op.f("ck_schedule_interval_minutes"),
        ),
        sa.CheckConstraint("day BETWEEN 0 AND 7", name=op.f("ck_schedule_interval_day")),
        sa.ForeignKeyConstraint(["schedule_id"], ["schedule.id"], name=op.f("fk_schedule_interval_schedule_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_schedule_interval")),
    )
    op.create_index(op.f("ix_schedule_interval_schedule_id"), "schedule_interval", ["schedule_id"], unique=False)
    op.create_table(
        "zone",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("organisation_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("parent_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("code", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.ForeignKeyConstraint(["organisation_id"], ["organisation.id"], name=op.f("fk_zone_organisation_id")),
        sa.ForeignKeyConstraint(["parent_id"], ["zone.id"], name=op.f("fk_zone_parent_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_zone")),
        sa.UniqueConstraint("code", name=op.f("uq_zone_code")),
    )
    op.create_table(
        "card",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("reference", sa.String(length=36), nullable=False),
        sa.Column("organisation_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("person_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("state_reason", sa.String(length=40), nullable=True),
        sa.Column("valid_from_ms", sa.BigInteger(), nullable=True),
        sa.Column("valid_until_ms", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["organisation_id"], ["organisation.id"], name=op.f("fk_card_organisation_id")),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"], name=op.f("fk_card_person_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_card")),
        sa.UniqueConstraint("reference", name=op.f("uq_card_reference")),
    )
    op.create_index(op.f("ix_card_person_id"), "card", ["person_id"], unique=False)
    op.create_table(
        "point",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("organisation_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("code", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("use", sa.String(length=20), nullable=False),
        sa.Column("zone_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("point_class_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("time_zone", sa.String(length=64), nullable=False),
        sa.Column("agent", sa.String(length=40), nullable=True),
        sa.Column("reader", sa.String(length=127), nullable=True),
        sa.ForeignKeyConstraint(["organisation_id"], ["organisation.id"], name=op.f("fk_point_organisation_id")),
        sa.ForeignKeyConstraint(["point_class_id"], ["point_class.id"], name=op.f("fk_point_point_class_id")),
        sa.ForeignKeyConstraint(["zone_id"], ["zone.id"], name=op.f("fk_point_zone_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_point")),
        sa.UniqueConstraint("code", name=op.f("uq_point_code")),
    )
    op.create_index(op.f("ix_point_agent"), "point", ["agent"], unique=False)
    op.create_table(
        "access_rule",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("organisation_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("effect", sa.String(length=10), nullable=False),
        sa.Column("group_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("person_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("point_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("zone_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("use", sa.String(length=20), nullable=True),
        sa.Column("schedule_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("valid_from_ms", sa.BigInteger(), nullable=True),
        sa.Column("valid_until_ms", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("effect IN ('grant', 'block')", name=op.f("ck_access_rule_effect")),
        sa.CheckConstraint(
            "(CASE WHEN point_id IS NULL THEN 0 ELSE 1 END) + (CASE WHEN zone_id IS NULL THEN 0 ELSE 1 END)"
            " + (CASE WHEN use IS NULL THEN 0 ELSE 1 END) = 1",
            name=op.f("ck_access_rule_one_target"),
        ),
        sa.CheckConstraint("(group_id IS NULL) <> (person_id IS NULL)", name=op.f("ck_access_rule_one_subject")),
        sa.ForeignKeyConstraint(["group_id"], ["directory_group.id"], name=op.f("fk_access_rule_group_id")),
        sa.ForeignKeyConstraint(["organisation_id"], ["organisation.id"], name=op.f("fk_access_rule_organisation_id")),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"], name=op.f("fk_access_rule_person_id")),
        sa.ForeignKeyConstraint(["point_id"], ["point.id"], name=op.f("fk_access_rule_point_id")),
        sa.ForeignKeyConstraint(["schedule_id"], ["schedule.id"], name=op.f("fk_access_rule_schedule_id")),
        sa.ForeignKeyConstraint(["zone_id"], ["zone.id"], name=op.f("fk_access_rule_zone_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_access_rule")),
    )
    op.create_index(op.f("ix_access_rule_group_id"), "access_rule", ["group_id"], unique=False)
    op.create_index(op.f("ix_access_rule_person_id"), "access_rule", ["person_id"], unique=False)
    op.create_table(
        "credential",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("card_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("key", sa.LargeBinary(length=64), nullable=False),
        sa.Column("retired", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.ForeignKeyConstraint(["card_id"], ["card.id"], name=op.f("fk_credential_card_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_credential")),
        sa.UniqueConstraint("key", name=op.f("uq_credential_key")),
    )
    op.create_index(op.f("ix_credential_card_id"), "credential", ["card_id"], unique=False)


def downgrade() -> None:
    op.drop_index(op.f("ix_credential_card_id"), table_name="credential")
    op.drop_table("credential")
    op.drop_index(op.f("ix_access_rule_person_id"), table_name="access_rule")
    op.drop_index(op.f("ix_access_rule_group_id"), table_name="access_rule")
    op.drop_table("access_rule")
    op.drop_index(op.f("ix_point_agent"), table_name="point")
    op.drop_table("point")
    op.drop_index(op.f("ix_card_person_id"), table_name="card")
    op.drop_table("card")
    op.drop_table("zone")
    op.drop_index(op.f("ix_schedule_interval_schedule_id"), table_name="schedule_interval")
    op.drop_table("schedule_interval")
    op.drop_index(op.f("ix_point_class_level_point_class_id"), table_name="point_class_level")
    op.drop_table("point_class_level")
    op.drop_table("person")
    op.drop_table("schedule")
    op.drop_table("point_class")
    op.drop_table("organisation")
    op.drop_table("directory_group")
    op.drop_table("directory_copy")
    op.drop_table("changes")
    op.drop_table("agent")
