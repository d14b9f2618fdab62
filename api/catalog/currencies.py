"""The currencies a price may be in, and how their minor units are written.

Codes are those of ISO 4217 in lower case, as the provider has them. Source: ISO 4217 list one,
without funds, metals and testing codes; minor units as the provider counts them
(https://docs.stripe.com/currencies), which for a few differs from ISO.
"""

from __future__ import annotations

_CODES = """
    aed afn all amd ang aoa ars aud awg azn bam bbd bdt bgn bhd bif bmd bnd bob brl bsd btn bwp byn
    bzd cad cdf chf clp cny cop crc cup cve czk djf dkk dop dzd egp ern etb eur fjd fkp gbp gel ghs
    gip gmd gnf gtq gyd hkd hnl htg huf idr ils inr iqd irr isk jmd jod jpy kes kgs khr kmf kpw krw
    kwd kyd kzt lak lbp lkr lrd lsl lyd mad mdl mga mkd mmk mnt mop mru mur mvr mwk mxn myr mzn nad
    ngn nio nok npr nzd omr pab pen pgk php pkr pln pyg qar ron rsd rub rwf sar sbd scr sdg sek sgd
    shp sle sos srd ssp stn svc syp szl thb tjs tmt tnd top try ttd twd tzs uah ugx usd uyu uzs ved
    ves vnd vuv wst xaf xcd xcg xof xpf yer zar zmw zwg
"""

CURRENCIES = frozenset(_CODES.split())

_WHOLE = "bif clp djf gnf jpy kmf krw mga pyg rwf vnd vuv xaf xof xpf"
_THOUSANDTHS = "bhd jod kwd omr tnd"

_DIGITS = dict.fromkeys(_WHOLE.split(), 0) | dict.fromkeys(_THOUSANDTHS.split(), 3)


def money(amount_minor: int, currency: str) -> str:
    """Write an amount for a person, exactly: ``4900`` of ``usd`` is ``49.00 USD``."""
    digits = _DIGITS.get(currency, 2)
    if digits == 0:
        return f"{amount_minor} {currency.upper()}"
    whole, rest = divmod(amount_minor, 10**digits)
    return f"{whole}.{rest:0{digits}d} {currency.upper()}"
