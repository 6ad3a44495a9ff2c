"""The allow-list of expressions: which nodes of a tree, and which functions, free text may use."""

from sqlglot import exp


def _words(text: str) -> list[str]:
    return text.split()


_STRUCTURE: tuple[type[exp.Expr], ...] = tuple(
    getattr(exp, name)
    for name in _words(
        """
    Column Identifier Literal Boolean Null Paren Tuple Not Neg BitwiseNot EQ NEQ GT GTE LT LTE NullSafeEQ
    NullSafeNEQ Is In Between Like ILike SimilarTo Glob Escape Add Sub Mul Div IntDiv Mod DPipe BitwiseAnd
    BitwiseOr BitwiseXor BitwiseLeftShift BitwiseRightShift DataType DataTypeParam Interval IntervalSpan Var
    Distinct Star Filter Where WithinGroup Order Ordered AtTimeZone Bracket JSONPath JSONPathRoot JSONPathKey
    JSONPathSubscript WeekStart IgnoreNulls RespectNulls Window WindowSpec National
    """
    )
)
_DENIED = frozenset(
    _words(
        """
    AIAgg AIClassify AIEmbed AIForecast AIGenerate AISimilarity AISummarizeAgg Anonymous AnonymousAggFunc
    AnyValue Apply Columns CombinedAggFunc CombinedParameterizedAgg ConnectByRoot CurrentAccount
    CurrentAccountName CurrentAvailableRoles CurrentCatalog CurrentClient CurrentDatabase CurrentIpAddress
    CurrentOrganizationName CurrentOrganizationUser CurrentRole CurrentRoleType CurrentSchema CurrentSchemas
    CurrentSecondaryRoles CurrentSession CurrentStatement CurrentTransaction CurrentUser CurrentUserId
    CurrentVersion CurrentWarehouse Decrypt DecryptRaw DynamicIdentifier Encrypt EncryptRaw Exists Explode
    ExplodingGenerateSeries FeaturesAtTime First Flatten GapFill GenerateBool GenerateDateArray GenerateDouble
    GenerateEmbedding GenerateInt GenerateSeries GenerateTable GenerateText GenerateTimestampArray Generator
    Grouping GroupingId Inline JSONTable Last MLForecast MLTranslate MatchAgainst NetFunc NextValueFor Normal
    ObjectId OpenJSON ParameterizedAgg Posexplode PosexplodeOuter Predict Rand Randn Randstr ReadCSV
    ReadParquet Reduce Search SearchIp Secret Seq1 Seq2 Seq4 Seq8 SessionUser Shuffle SplitToTable Stack
    StarMap StrtokSplitToTable ToFile Transform Uniform Unnest Uuid VectorSearch XMLGet XMLTable Zipf
    _ExplodeOuter ArrayFilter ArrayAll ArrayAny ArrayConcatAgg ApproxTopK ApproxTopSum
    """
    )
)
_SAFE_FUNCTIONS = frozenset(
    _words(
        """
    abs add_months age array_length ascii base64 bit_count btrim ceil ceiling char_length character_length chr
    concat concat_ws contains convert cos cot curdate date date_add date_diff date_part date_sub datediff
    dateadd datename datepart datefromparts dayname dayofmonth dayofweek dayofyear decode div ends_with
    eomonth epoch epoch_ms even exp field find_in_set floor format formatdatetime from_days from_unixtime
    greatest hash hex hour iff ifnull iif initcap instr intdiv isfinite isinf isnan isnull isodow isoweek
    isoyear jaccard json_array_length json_extract json_extract_path_text json_extract_string json_type
    json_unquote json_valid julian julianday last_day lcase least left length len levenshtein list_contains
    list_extract ln locate log log10 log2 lower lpad ltrim make_date make_interval make_time make_timestamp
    makedate maketime md5 microsecond mid millisecond minute mod month monthname months_between nullif nvl
    octet_length pi position pow power prefix printf quarter quotename radians regexp_extract
    regexp_full_match regexp_like regexp_matches regexp_replace repeat replace reverse right round rpad rtrim
    sec_to_time second sha1 sha256 sign sin soundex space split_part sqrt square starts_with str_to_date
    strcmp strftime string_split strip_accents strlen strpos strptime subdate substr substring substring_index
    suffix tan time_to_sec timestampadd timestampdiff to_base64 to_char to_date to_days to_number to_timestamp
    to_seconds todate todatetime toint64 tofloat64 tostring tomonth toyear toyyyymm toyyyymmdd tostartofday
    tostartofhour tostartofmonth tostartofquarter tostartofweek tostartofyear tomonday translate trim trunc
    truncate try_cast typeof ucase unicode unix_timestamp unixepoch upper week weekday weekofyear year
    yearweek ymd zeroblob multiif if total_seconds timestamp_seconds time_bucket nanosecond era century decade
    json_value json_query isdate charindex stuff patindex str parse_date format_date format_timestamp
    safe_cast extract_year
    """
    )
)
SQLITE_FUNCTIONS = frozenset(
    _words(
        """
    abs acos acosh asin asinh atan atan2 atanh case cast ceil ceiling char coalesce cos cosh current_date current_time
    current_timestamp date datetime degrees exp floor format glob hex ifnull iif instr json json_array json_array_length
    json_extract json_object json_patch json_quote json_remove json_replace json_set json_type json_valid julianday length
    like likelihood likely ln log log10 log2 lower ltrim max min mod nullif pi pow power printf quote radians replace round
    rtrim sign sin sinh soundex sqrt strftime substr substring tan tanh time trim trunc typeof unicode unixepoch unlikely
    upper zeroblob
    cume_dist dense_rank first_value lag last_value lead nth_value ntile percent_rank rank row_number
    """
    )
)
"""Every function of a row, and of a window, that SQLite has."""
WRITES: tuple[type[exp.Expr], ...] = (
    exp.Insert, exp.Update, exp.Delete, exp.Merge, exp.Create, exp.Drop, exp.Alter, exp.Command, exp.Into, exp.Lock, exp.Set,
    exp.Pragma, exp.Attach, exp.Detach, exp.Copy, exp.TruncateTable,
)  # fmt: skip
"""What the query of an SQL source may never hold."""


def refusal(node: exp.Expr) -> str | None:
    """Say why a node is not allowed, or None when it is."""
    name = type(node).__name__
    if isinstance(node, exp.Query | exp.Subquery | exp.Exists) or node.args.get("query") is not None:
        return "a sub-select is not allowed"
    if isinstance(node, exp.Star):
        under = node.parent.parent if isinstance(node.parent, exp.Column) else node.parent
        return (
            None
            if isinstance(under, exp.Count) and not node.args.get("except_")
            else "`*` is only allowed in `count(*)`"
        )
    if isinstance(node, exp.Where):
        return None if isinstance(node.parent, exp.Filter) else "a WHERE is not allowed"
    if isinstance(node, exp.In) and (node.args.get("unnest") or node.args.get("field")):
        return "IN takes a list of values"
    if isinstance(node, exp.Anonymous):
        function = node.name.lower()
        return None if function in _SAFE_FUNCTIONS else f"the function `{function}` is not known to be safe"
    if isinstance(node, _STRUCTURE):
        return None
    if isinstance(node, exp.AnyValue | exp.First | exp.Last):
        return f"`{name.lower()}` picks an arbitrary row, so its answer could not be trusted"
    if isinstance(node, exp.Func) and name not in _DENIED:
        return None
    return f"`{node.sql()[:60]}` ({name}) is not allowed"
