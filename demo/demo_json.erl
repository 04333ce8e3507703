%% @doc Reads JSON, so that the demo can read what the analyzer prints with
%% `--json' on every OTP: the library has a JSON module only from OTP 27 on.
%%
%% Objects become maps with binary keys, `null' becomes `undefined'. Input that
%% is not JSON crashes. `\u' escapes of surrogate pairs are not put together:
%% the analyzer writes UTF-8.
-module(demo_json).

-export([decode/1]).

-type json() ::
    undefined | boolean() | number() | binary() | [json()] | #{binary() => json()}.

-export_type([json/0]).

%% @doc The one JSON value in this text.
-spec decode(binary()) -> json().
decode(Text) ->
    {Value, Rest} = value(skip(Text)),
    <<>> = skip(Rest),
    Value.

-spec value(binary()) -> {json(), binary()}.
value(<<"{", Rest/binary>>) -> object(skip(Rest), #{});
value(<<"[", Rest/binary>>) -> array(skip(Rest), []);
value(<<"\"", Rest/binary>>) -> string(Rest, <<>>);
value(<<"null", Rest/binary>>) -> {undefined, Rest};
value(<<"true", Rest/binary>>) -> {true, Rest};
value(<<"false", Rest/binary>>) -> {false, Rest};
value(Text) -> number(Text).

-spec object(binary(), map()) -> {json(), binary()}.
object(<<"}", Rest/binary>>, Object) ->
    {Object, Rest};
object(<<",", Rest/binary>>, Object) ->
    object(skip(Rest), Object);
object(<<"\"", Text/binary>>, Object) ->
    {Key, AfterKey} = string(Text, <<>>),
    <<":", AfterColon/binary>> = skip(AfterKey),
    {Value, Rest} = value(skip(AfterColon)),
    object(skip(Rest), Object#{Key => Value}).

-spec array(binary(), [json()]) -> {json(), binary()}.
array(<<"]", Rest/binary>>, Values) ->
    {lists:reverse(Values), Rest};
array(<<",", Rest/binary>>, Values) ->
    array(skip(Rest), Values);
array(Text, Values) ->
    {Value, Rest} = value(Text),
    array(skip(Rest), [Value | Values]).

-spec string(binary(), binary()) -> {binary(), binary()}.
string(<<"\"", Rest/binary>>, Read) ->
    {Read, Rest};
string(<<"\\u", Hex:4/binary, Rest/binary>>, Read) ->
    string(Rest, <<Read/binary, (binary_to_integer(Hex, 16))/utf8>>);
string(<<"\\", Char, Rest/binary>>, Read) ->
    string(Rest, <<Read/binary, (unescaped(Char))>>);
string(<<Char, Rest/binary>>, Read) ->
    string(Rest, <<Read/binary, Char>>).

-spec unescaped(byte()) -> byte().
unescaped($n) -> $\n;
unescaped($t) -> $\t;
unescaped($r) -> $\r;
unescaped($b) -> $\b;
unescaped($f) -> $\f;
unescaped(Itself) -> Itself.

-spec number(binary()) -> {number(), binary()}.
number(Text) ->
    {match, [{0, Length}]} = re:run(Text, "^-?[0-9]+(\\.[0-9]+)?([eE][-+]?[0-9]+)?", [{capture, first}]),
    <<Digits:Length/binary, Rest/binary>> = Text,
    {to_number(Digits), Rest}.

-spec to_number(binary()) -> number().
to_number(Digits) ->
    case string:to_float(Digits) of
        {Float, <<>>} -> Float;
        _ -> to_number_without_point(Digits)
    end.

%% Erlang does not read `1e9'.
-spec to_number_without_point(binary()) -> number().
to_number_without_point(Digits) ->
    case binary:split(Digits, [<<"e">>, <<"E">>]) of
        [Integer] -> binary_to_integer(Integer);
        [Mantissa, Exponent] -> binary_to_float(<<Mantissa/binary, ".0e", Exponent/binary>>)
    end.

-spec skip(binary()) -> binary().
skip(<<Space, Rest/binary>>) when Space =:= $\s; Space =:= $\n; Space =:= $\t; Space =:= $\r ->
    skip(Rest);
skip(Text) ->
    Text.
