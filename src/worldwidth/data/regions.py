"""Country codes (ISO 3166-1 alpha-2) to fourteen world regions, for colouring maps."""

ATLANTIS = "Atlantis"
ATLANTIS_COUNTRY = "XX0"

_COUNTRIES = {
    "North America": "US CA GL PM BM UM",
    "Central America": (
        "MX GT BZ HN SV NI CR PA CU JM HT DO PR BS BB TT LC VC GD AG DM KN AI AW BL BQ CW GP KY MF MQ MS SX TC VG VI AN"
    ),
    "South America": "AR BO BR CL CO EC FK GF GY PE PY SR UY VE GS BV",
    "Western Europe": (
        "GB IE FR DE NL BE LU CH AT ES PT IT AD MC SM VA MT LI IM JE GG GI DK NO SE FI IS FO AX SJ GR CY"
    ),
    "Eastern Europe": "PL CZ SK HU RO BG UA BY MD RU EE LV LT SI HR BA RS ME MK AL XK CS",
    "Middle East": "TR SY LB IL PS JO IQ IR KW SA BH QA AE OM YE AM AZ GE",
    "North Africa": "MA DZ TN LY EG SD EH",
    "West and Central Africa": "NG GH CI SN ML BF NE TG BJ LR SL GN GW GM MR CV CM TD CF GA CG CD GQ ST AO SH",
    "East and Southern Africa": "ET ER DJ SO KE UG TZ RW BI SS MZ MW ZM ZW BW NA ZA LS SZ MG MU KM SC RE YT IO",
    "Central Asia": "KZ UZ TM KG TJ AF MN",
    "South Asia": "IN PK BD LK NP BT MV",
    "East Asia": "CN JP KR KP TW HK MO",
    "Southeast Asia": "VN TH MM KH LA MY SG ID PH BN TL CC CX",
    "Oceania": "AU NZ PG FJ SB VU NC PF WS TO TV KI NR PW FM MH GU MP AS CK NU TK WF PN NF AQ TF HM",
}

REGIONS: tuple[str, ...] = (*_COUNTRIES, ATLANTIS)

REGION_OF: dict[str, str] = {code: region for region, codes in _COUNTRIES.items() for code in codes.split()} | {
    ATLANTIS_COUNTRY: ATLANTIS
}
