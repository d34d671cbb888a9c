//! Golden bytes of the catalog's records, and bodies that are damage.

use super::*;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The record as (key, kind and body), and what it decodes to.
fn shown(record: &Stored) -> (String, String, Record) {
    let Stored { key, kind, body } = record;
    let decoded = Record::decode(key, *kind, body).unwrap();
    assert_eq!(decoded.stored(), *record);
    (hex(key), format!("{:02x} {}", kind.0, hex(body)), decoded)
}

#[test]
fn golden_bytes_of_the_catalogs_records() {
    let extension = Bytes::from_static(b"\xee");
    let database = DatabaseDescriptor {
        id: 1,
        version: 2,
        state: DescriptorState::Public,
        name: "db".to_owned(),
        extension: extension.clone(),
    };
    let (key, value, back) = shown(&Stored::database(&database));
    assert_eq!(key, "640000000000000001");
    assert_eq!(value, "40 080110021801220264627a01ee");
    assert_eq!(back, Record::Database(database));

    let schema = SchemaDescriptor {
        id: 2,
        version: 1,
        state: DescriptorState::Public,
        database_id: 1,
        name: "s".to_owned(),
        extension: extension.clone(),
    };
    let (key, value, back) = shown(&Stored::schema(&schema));
    assert_eq!(key, "640000000000000002");
    assert_eq!(value, "41 08021001180120012a01737a01ee");
    assert_eq!(back, Record::Schema(schema));

    let (key, value, back) = shown(&Stored::name(1, "s", 300));
    assert_eq!((key.as_str(), value.as_str()), ("6e000000000000000173", "43 08ac02"));
    assert_eq!(back, Record::Name { parent: 1, name: "s".to_owned(), id: 300 });

    let user = User { name: "max".to_owned(), can_login: true, extension };
    let (key, value, back) = shown(&Stored::user(&user));
    assert_eq!((key.as_str(), value.as_str()), ("756d6178", "44 08017a01ee"));
    assert_eq!(back, Record::User(user));

    let (key, value, back) = shown(&Stored::membership("max", "ops"));
    assert_eq!((key.as_str(), value.as_str()), ("6d016d61780001016f70730001", "45 "));
    assert_eq!(back, Record::Membership { member: "max".to_owned(), role: "ops".to_owned() });
}

#[test]
fn golden_bytes_of_a_table() {
    let types = [
        ColumnType::Int2,
        ColumnType::Int4,
        ColumnType::Int8,
        ColumnType::Float8,
        ColumnType::Decimal { precision: 10, scale: 2 },
        ColumnType::Bool,
        ColumnType::Text,
        ColumnType::Varchar(300),
        ColumnType::Date,
        ColumnType::TimestampTz,
    ];
    let extension = Bytes::from_static(b"\xee");
    let mut columns: Vec<Column> = (1..)
        .zip(types)
        .map(|(id, ty)| Column {
            id,
            name: "c".to_owned(),
            ty,
            nullable: true,
            default: None,
            extension: Bytes::new(),
        })
        .collect();
    columns[0].nullable = false;
    columns[1].default = Some("1".to_owned());
    columns[1].extension = extension.clone();
    let table = TableDescriptor {
        id: 9,
        version: 3,
        state: DescriptorState::Offline,
        schema_id: 2,
        name: "t".to_owned(),
        columns,
        primary: Index {
            id: 1,
            key: vec![
                KeyPart { column_id: 1, direction: Direction::Asc },
                KeyPart { column_id: 3, direction: Direction::Desc },
            ],
            home: SpanId::from_raw(17),
            spans: vec![BulkSpan {
                id: SpanId::from_raw(18),
                first_key: vec![1].into(),
                last_key: vec![2].into(),
                rows: 5,
                bytes: 300,
            }],
            extension: extension.clone(),
        },
        schema_version: 4,
        next_column_id: 11,
        extension,
    };
    let (key, value, back) = shown(&Stored::table(&table));
    assert_eq!(key, "640000000000000009");
    let expect = [
        "42 0809",        // kind, id
        "1003",           // version
        "1802",           // state
        "2002",           // schema
        "2a0174",         // name
        "32090801120163", // column 1: id, name
        "1a020801",       // type INT2
        "3211080212016",
        "31a0208022001", // column 2: INT4, nullable
        "2a0131",        // its default
        "7a01ee",        // its extension
        "320b08031201631a0208032001",
        "320b08041201631a0208042001",
        "320f08051201631a060805100a18022001",
        "320b08061201631a0208062001",
        "320b08071201631a0208072001",
        "320e08081201631a05080810ac022001",
        "320b08091201631a0208092001",
        "320b080a1201631a02080a2001",
        "3a20",         // the primary index
        "0801",         // its id
        "12020801",     // key: column 1
        "120408031001", // key: column 3, descending
        "1811",         // home
        "220d08121201011a010220052",
        "8ac02", // a bulk span
        "7a01ee",
        "4004", // schema version
        "480b", // next column id
        "7a01ee",
    ];
    assert_eq!(value, expect.concat());
    assert_eq!(back, Record::Table(table));
}

#[test]
fn bodies_that_no_release_wrote_are_damage() {
    let descriptor = descriptor_key(9);
    for (key, kind, body, expected) in [
        (&descriptor, kind::TABLE, "ff", "a protobuf body"),
        (&descriptor, kind::USER, "", "a record of the kind that belongs here"),
        (&descriptor, kind::DATABASE, "0809", "the state public, offline or dropping"),
        (&descriptor, kind::DATABASE, "08081801", "the record of this key"),
        (&descriptor, kind::TABLE, "08091801", "a primary index"),
        (&descriptor, kind::TABLE, "080918013202080132020801", "the type of a column"),
        (
            &descriptor,
            kind::TABLE,
            "0809180132060801 1a0208633a00",
            "a type that this release knows",
        ),
        (
            &descriptor,
            kind::TABLE,
            "0809180132060801 1a02080132060801 1a0208013a00",
            "columns with ids of their own",
        ),
        (&descriptor, kind::TABLE, "080918013a0412020805", "key columns of the table, each once"),
        (
            &descriptor,
            kind::TABLE,
            "0809180132080801 1a0408051027 3a00",
            "a DECIMAL of 1 to 38 digits",
        ),
        (&b"n\0".to_vec(), kind::NAME, "", "the id of a parent"),
        (&b"u\xff".to_vec(), kind::USER, "", "a name in UTF-8"),
        (&b"m\x01a\0".to_vec(), kind::ROLE_MEMBERSHIP, "", "a name in UTF-8"),
        (
            &b"m\x01a\0\x01\x01b\0\x01c".to_vec(),
            kind::ROLE_MEMBERSHIP,
            "",
            "the record of this key",
        ),
        (&Vec::new(), kind::USER, "", "a key"),
    ] {
        let digits: Vec<u8> = body.bytes().filter(|byte| *byte != b' ').collect();
        let body: Vec<u8> = digits
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect();
        let damage = Record::decode(key, kind, &body).unwrap_err();
        assert_eq!(damage.expected, expected, "{} {}", hex(key), hex(&body));
        assert_eq!(damage.family, Family::Catalog);
    }
}
