"""The names of all methods, and the table of the explicit ones: one entry, one method, its numbers, its reference.

Implicit, partitioned and splitting methods have tables of their own. Here: rows of A from the second stage on, left of
the diagonal; then b, the order claimed for b, the reference. Coefficients are exact wherever an exact form exists; the
entries that give a tolerance say why. To add a method, add an entry: the tests compute its order from its coefficients.
The file is long because the numbers are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from types import MappingProxyType
from typing import Any

from ..suite.errors import UsageError, unknown
from .coefficients import Row, exact_row
from .implicit_tableaux import IMPLICIT
from .partitioned_tableau import PARTITIONED, PartitionedTableau
from .splitting import SPLITTINGS
from .tableau import Method, Tableau, exact

__all__ = ["ALIASES", "METHODS", "TABLEAUX", "Method", "describe", "method", "tableau"]


def method(name: str) -> Method:
    """The method of that name or alias, in any case. Raises `UsageError` with the nearest name for an unknown one."""
    key = name.lower()
    key = ALIASES.get(key, key)
    if key not in METHODS:
        raise unknown("tableau", name, [*METHODS, *ALIASES])
    return METHODS[key]


def tableau(name: str) -> Tableau:
    """The tableau of that name or alias, in any case.

    Raises `UsageError` for an unknown one, with the nearest name, and for a partitioned or splitting method.
    """
    found = method(name)
    if not isinstance(found, Tableau):
        kind = "a partitioned" if isinstance(found, PartitionedTableau) else "a splitting"
        raise UsageError(f"{name!r} is {kind} method: expected one tableau for the whole state, such as 'rk4'.")
    return found


def describe(method: Method) -> dict[str, Any]:
    """Everything about one method as plain JSON: coefficients as text, what is computed and decided from them."""
    from .facts import describe

    return describe(method)


def _explicit(
    name: str,
    rows: Sequence[str],
    b: str,
    order: int,
    reference: str,
    b_hat: str | None = None,
    embedded_order: int | None = None,
    tolerance: str = "0",
) -> Tableau:
    def numbers(text: str) -> Row:
        return exact_row(text.split())

    weights = numbers(b)
    lower = [(), *(numbers(row) for row in rows)]
    if [len(row) for row in lower] != list(range(len(weights))):
        raise UsageError(f"tableau {name!r}: expected rows of 1, 2, ... {len(weights) - 1} entries.")
    return Tableau(
        name,
        tuple(row + (Fraction(0),) * (len(weights) - len(row)) for row in lower),
        weights,
        order,
        reference,
        None if b_hat is None else numbers(b_hat),
        embedded_order,
        exact(tolerance),
    )


_ENTRIES = (
    _explicit(
        "euler",
        (),
        "1",
        1,
        "L. Euler, Institutionum calculi integralis, vol. 1 (1768), section 2, chapter 7",
    ),
    _explicit(
        "midpoint",
        ("1/2",),
        "0 1",
        2,
        "C. Runge, Ueber die numerische Auflösung von Differentialgleichungen, Math. Ann. 46 (1895) 167-178",
    ),
    _explicit(
        "heun2",
        ("1",),
        "1/2 1/2",
        2,
        "K. Heun, Neue Methoden zur approximativen Integration der Differentialgleichungen einer unabhängigen "
        "Veränderlichen, Z. Math. Phys. 45 (1900) 23-38; the trapezoidal form of C. Runge, Math. Ann. 46 "
        "(1895) 167-178",
    ),
    _explicit(
        "ralston2",
        ("2/3",),
        "1/4 3/4",
        2,
        "A. Ralston, Runge-Kutta methods with minimum error bounds, Math. Comp. 16 (1962) 431-437",
    ),
    _explicit(
        "kutta3",
        (
            "1/2",
            "-1 2",
        ),
        "1/6 2/3 1/6",
        3,
        "W. Kutta, Beitrag zur näherungsweisen Integration totaler Differentialgleichungen, Z. Math. Phys. 46 "
        "(1901) 435-453",
    ),
    _explicit(
        "heun3",
        (
            "1/3",
            "0 2/3",
        ),
        "1/4 0 3/4",
        3,
        "K. Heun, Neue Methoden zur approximativen Integration der Differentialgleichungen einer unabhängigen "
        "Veränderlichen, Z. Math. Phys. 45 (1900) 23-38",
    ),
    _explicit(
        "ssp33",
        (
            "1",
            "1/4 1/4",
        ),
        "1/6 1/6 2/3",
        3,
        "C.-W. Shu, S. Osher, Efficient implementation of essentially non-oscillatory shock-capturing "
        "schemes, J. Comput. Phys. 77 (1988) 439-471",
    ),
    _explicit(
        "ssp43",
        (
            "1/2",
            "1/2 1/2",
            "1/6 1/6 1/6",
        ),
        "1/6 1/6 1/6 1/2",
        3,
        "J. F. B. M. Kraaijevanger, Contractivity of Runge-Kutta methods, BIT 31 (1991) 482-528; embedded "
        "weights of S. Conde, I. Fekete, J. N. Shadid, Embedded error estimation and adaptive step-size "
        "control for optimal explicit strong stability preserving Runge-Kutta methods, arXiv:1806.08693 "
        "(2018)",
        b_hat="1/4 1/4 1/4 1/4",
        embedded_order=2,
    ),
    _explicit(
        "ssp54",
        (
            "0.3917522265718890583279932475745293240814297338238045912826335346",
            "0.2176690962611692103576657071859138565479475881455202046516945672 "
            "0.3684105930503720207501668053275406638466129834988348910689472306",
            "0.0826920866578107544051523122009453574112202979977295992414341609 "
            "0.1399585021918957393790174293975628985786969328650814076504108535 "
            "0.2518917742716926398363699147189955815724288492277771874107602345",
            "0.0679662836371149632357905870872097552754783787540621727055307411 "
            "0.1150346985046319946693967083364075293355806613706861542228485906 "
            "0.2070348985973847185098638925022351878617121972104560212055625045 "
            "0.5449747502285199220374336259531638981651898895126487004946806478",
        ),
        "0.1468118760847864495633257376578330425815003941594771712241426682 "
        "0.2484829094449761475711895840382539519620005504737561000674467044 "
        "0.1042588303319802956667964507646552370446528454346331102196952631 "
        "0.2744389009013494568051399674852949338025710290805498376944423858 "
        "0.2260074832369076503935482600539628346092751808515837807942729785",
        4,
        "J. F. B. M. Kraaijevanger, Contractivity of Runge-Kutta methods, BIT 31 (1991) 482-528; R. J. "
        "Spiteri, S. J. Ruuth, A new class of optimal high-order strong-stability-preserving time "
        "discretization methods, SIAM J. Numer. Anal. 40 (2002) 469-491. No closed form: decimals, the eight "
        "order conditions solved to 64 places for the eight free numbers of their Shu-Osher form, which gives "
        "their fifteen digits",
        tolerance="1e-60",
    ),
    _explicit(
        "ssp104",
        (
            "1/6",
            "1/6 1/6",
            "1/6 1/6 1/6",
            "1/6 1/6 1/6 1/6",
            "1/15 1/15 1/15 1/15 1/15",
            "1/15 1/15 1/15 1/15 1/15 1/6",
            "1/15 1/15 1/15 1/15 1/15 1/6 1/6",
            "1/15 1/15 1/15 1/15 1/15 1/6 1/6 1/6",
            "1/15 1/15 1/15 1/15 1/15 1/6 1/6 1/6 1/6",
        ),
        "1/10 1/10 1/10 1/10 1/10 1/10 1/10 1/10 1/10 1/10",
        4,
        "D. I. Ketcheson, Highly efficient strong stability-preserving Runge-Kutta methods with low-storage "
        "implementations, SIAM J. Sci. Comput. 30 (2008) 2113-2136; embedded weights of S. Conde, I. Fekete, "
        "J. N. Shadid, Embedded error estimation and adaptive step-size control for optimal explicit strong "
        "stability preserving Runge-Kutta methods, arXiv:1806.08693 (2018)",
        b_hat="0 2/9 0 0 5/18 1/3 0 0 0 1/6",
        embedded_order=3,
    ),
    _explicit(
        "bogacki-shampine32",
        (
            "1/2",
            "0 3/4",
            "2/9 1/3 4/9",
        ),
        "2/9 1/3 4/9 0",
        3,
        "P. Bogacki, L. F. Shampine, A 3(2) pair of Runge-Kutta formulas, Appl. Math. Lett. 2 (1989) 321-325",
        b_hat="7/24 1/4 1/3 1/8",
        embedded_order=2,
    ),
    _explicit(
        "rk4",
        (
            "1/2",
            "0 1/2",
            "0 0 1",
        ),
        "1/6 1/3 1/3 1/6",
        4,
        "W. Kutta, Beitrag zur näherungsweisen Integration totaler Differentialgleichungen, Z. Math. Phys. 46 "
        "(1901) 435-453",
    ),
    _explicit(
        "rk38",
        (
            "1/3",
            "-1/3 1",
            "1 -1 1",
        ),
        "1/8 3/8 3/8 1/8",
        4,
        "W. Kutta, Beitrag zur näherungsweisen Integration totaler Differentialgleichungen, Z. Math. Phys. 46 "
        "(1901) 435-453",
    ),
    _explicit(
        "fehlberg45",
        (
            "1/4",
            "3/32 9/32",
            "1932/2197 -7200/2197 7296/2197",
            "439/216 -8 3680/513 -845/4104",
            "-8/27 2 -3544/2565 1859/4104 -11/40",
        ),
        "25/216 0 1408/2565 2197/4104 -1/5 0",
        4,
        "E. Fehlberg, Low-order classical Runge-Kutta formulas with stepsize control and their application to "
        "some heat transfer problems, NASA TR R-315 (1969), table III; advances with the fourth-order "
        "weights, as published",
        b_hat="16/135 0 6656/12825 28561/56430 -9/50 2/55",
        embedded_order=5,
    ),
    _explicit(
        "cash-karp54",
        (
            "1/5",
            "3/40 9/40",
            "3/10 -9/10 6/5",
            "-11/54 5/2 -70/27 35/27",
            "1631/55296 175/512 575/13824 44275/110592 253/4096",
        ),
        "37/378 0 250/621 125/594 0 512/1771",
        5,
        "J. R. Cash, A. H. Karp, A variable order Runge-Kutta method for initial value problems with rapidly "
        "varying right-hand sides, ACM Trans. Math. Softw. 16 (1990) 201-222",
        b_hat="2825/27648 0 18575/48384 13525/55296 277/14336 1/4",
        embedded_order=4,
    ),
    _explicit(
        "dormand-prince54",
        (
            "1/5",
            "3/40 9/40",
            "44/45 -56/15 32/9",
            "19372/6561 -25360/2187 64448/6561 -212/729",
            "9017/3168 -355/33 46732/5247 49/176 -5103/18656",
            "35/384 0 500/1113 125/192 -2187/6784 11/84",
        ),
        "35/384 0 500/1113 125/192 -2187/6784 11/84 0",
        5,
        "J. R. Dormand, P. J. Prince, A family of embedded Runge-Kutta formulae, J. Comput. Appl. Math. 6 (1980) 19-26",
        b_hat="5179/57600 0 7571/16695 393/640 -92097/339200 187/2100 1/40",
        embedded_order=4,
    ),
    _explicit(
        "tsitouras54",
        (
            "0.161",
            "-0.0084806554923569885444268742502308 0.3354806554923569885444268742502308",
            "2.8971530571054934321304325941929387 -6.3594484899750748431481599123838256 "
            "4.3622954328695814110177273181908869",
            "5.3258648284392566044288779208405113 -11.748883564062827877747170339785773 "
            "7.4955393428898362083046047845643582 -0.0924950663617552492565020793320719",
            "5.8614554429464200286592514869826478 -12.9209693178471092917061186817833594 "
            "8.1593678985761586431804007945392535 -0.0715849732814009972245305425258297 "
            "-0.0282690503940683829090030572127122",
            "0.0964607668180652295181673131651288 1/100 0.4798896504144995747752495322905965 "
            "1.3790085741037418931922748218568728 -3.2900695154360806799010475857113639 "
            "2.3247105240997739824153559183987658",
        ),
        "0.0964607668180652295181673131651288 1/100 0.4798896504144995747752495322905965 "
        "1.3790085741037418931922748218568728 -3.2900695154360806799010475857113639 "
        "2.3247105240997739824153559183987658 0",
        5,
        "Ch. Tsitouras, Runge-Kutta pairs of order 5(4) satisfying only the first column simplifying "
        "assumption, Comput. Math. Appl. 62 (2011) 770-775; no closed form: decimals, here to 34 places",
        b_hat="0.0946807557658394580747887625575892 0.0091835655403432530967763639366453 "
        "0.4877705284247615707855642599631228 1.2342975669304789856551096738842377 "
        "-2.7077123499835254548811099750593217 1.8666284181705870357537193995662115 1/66",
        embedded_order=4,
        tolerance="1e-30",
    ),
    _explicit(
        "bogacki-shampine54",
        (
            "1/6",
            "2/27 4/27",
            "183/1372 -162/343 1053/1372",
            "68/297 -4/11 42/143 1960/3861",
            "597/22528 81/352 63099/585728 58653/366080 4617/20480",
            "174197/959244 -30942/79937 8152137/19744439 666106/1039181 -29421/29068 482048/414219",
            "587/8064 0 4440339/15491840 24353/124800 387/44800 2152/5985 7267/94080",
        ),
        "587/8064 0 4440339/15491840 24353/124800 387/44800 2152/5985 7267/94080 0",
        5,
        "P. Bogacki, L. F. Shampine, An efficient Runge-Kutta (4,5) pair, Comput. Math. Appl. 32 (1996) "
        "15-28; embedded weights: the eight-stage ones",
        b_hat="2479/34992 0 123/416 612941/3411720 43/1440 2272/6561 79937/1113912 3293/556956",
        embedded_order=4,
    ),
    _explicit(
        "verner65",
        (
            "3/50",
            "519479/27000000 2070721/27000000",
            "1439/40000 0 4317/40000",
            "109225017611/82828840000 0 -417627820623/82828840000 43699198143/10353605000",
            "-8036815292643907349452552172369/191934985946683241245914401600 0 "
            "246134619571490020064824665/1543816496655405117602368 "
            "-13880495956885686234074067279/113663489566254201783474344 "
            "755005057777788994734129/136485922925633667082436",
            "-1663299841566102097180506666498880934230261/30558424506156170307020957791311384232000 0 "
            "130838124195285491799043628811093033/631862949514135618861563657970240 "
            "-3287100453856023634160618787153901962873/20724314915376755629135711026851409200 "
            "2771826790140332140865242520369241/396438716042723436917079980147600 "
            "-1799166916139193/96743806114007800",
            "-832144750039369683895428386437986853923637763/15222974550069600748763651844667619945204887 0 "
            "818622075710363565982285196611368750/3936576237903728151856072395343129 "
            "-9818985165491658464841194581385463434793741875/61642597962658994069869370923196463581866011 "
            "31796692141848558720425711042548134769375/4530254033500045975557858016006308628092 "
            "-14064542118843830075/766928748264306853644 -1424670304836288125/2782839104764768088217",
            "382735282417/11129397249634 0 0 5535620703125000/21434089949505429 "
            "13867056347656250/32943296570459319 626271188750/142160006043 -51160788125000/289890548217 "
            "163193540017/946795234",
        ),
        "382735282417/11129397249634 0 0 5535620703125000/21434089949505429 "
        "13867056347656250/32943296570459319 626271188750/142160006043 -51160788125000/289890548217 "
        "163193540017/946795234 0",
        6,
        "J. H. Verner, Numerically optimal Runge-Kutta pairs with interpolants, Numer. Algorithms 53 (2010) "
        "383-396, the 'most efficient' 6(5) pair",
        b_hat="124310637869885675646798613/2890072468789466426596827670 0 0 "
        "265863151737164990361330921875/1113197271463372303940319369579 "
        "3075493557174030806536302953125/6843749922042323876546949699876 "
        "67798000008733879813263055/29532792147666737550036372 "
        "-1099436585155390846238326375/15055706496446408859196167 "
        "26171252653086373181571802/368794478890732346033505 1/30",
        embedded_order=5,
    ),
    _explicit(
        "verner76",
        (
            "1/200",
            "-4361/4050 2401/2025",
            "49/1200 0 49/400",
            "2454451729/3841600000 0 -9433712007/3841600000 4364554539/1920800000",
            "-6187101755456742839167388910402379177523537620/2324599620333464857202963610201679332423082271 0 "
            "27569888999279458303270493567994248533230000/2551701010245296220859455115479340650299761 "
            "-37368161901278864592027018689858091583238040000/4473131870960004275166624817435284159975481033 "
            "1392547243220807196190880383038194667840000000/1697219131380493083996999253929006193143549863",
            "11272026205260557297236918526339/1857697188743815510261537500000 0 "
            "-48265918242888069/1953194276993750 "
            "26726983360888651136155661781228/1308381343805114800955157615625 "
            "-2090453318815827627666994432/1096684189897834170412307919 "
            "1148577938985388929671582486744843844943428041509/"
            "1141532118233823914568777901158338927629837500000",
            "1304457204588839386329181466225966641/108211771565488329642169667802016000 0 "
            "-1990261989751005/40001418792832 "
            "2392691599894847687194643439066780106875/58155654089143548047476915856270826016 "
            "-1870932273351008733802814881998561250/419326053051486744762255151208232123 "
            "1043329047173803328972823866240311074041739158858792987034783181/"
            "510851127745017966999893975119259285040213723744255237522144000 "
            "-311918858557595100410788125/3171569057622789618800376448",
            "17579784273699839132265404100877911157/1734023495717116205617154737841023480 0 "
            "-18539365951217471064750/434776548575709731377 "
            "447448655912568142291911830292656995992000/12511202807447096607487664209063950964109 "
            "-65907597316483030274308429593905808000000/15158061430635748897861852383197382130691 "
            "273847823027445129865693702689010278588244606493753883568739168819449761/"
            "136252034448398939768371761610231099586032870552034688235302796640584360 "
            "694664732797172504668206847646718750/1991875650119463976442052358853258111 "
            "-19705319055289176355560129234220800/72595753317320295604316217197876507",
            "-511858190895337044664743508805671/11367030248263048398341724647960 0 "
            "2822037469238841750/15064746656776439 "
            "-23523744880286194122061074624512868000/152723005449262599342117017051789699 "
            "10685036369693854448650967542704000000/575558095977344459903303055137999707 "
            "-6259648732772142303029374363607629515525848829303541906422993/"
            "876479353814142962817551241844706205620792843316435566420120 "
            "17380896627486168667542032602031250/13279937889697320236613879977356033 0 0",
        ),
        "96762636172307789/2051985304794103980 0 0 312188947591288252500000/1212357694274963646019729 "
        "13550580884964304000000000000/51686919683339547115937980629 "
        "72367769693133178898676076432831566019684378142853445230956642801/"
        "475600216991873963561768100160364792981629064220601844848928537580 "
        "1619421054120605468750/3278200730370057108183 -66898316144057728000/227310933007074849597 "
        "181081444637946577/2226845467039736466 0",
        7,
        "J. H. Verner, Numerically optimal Runge-Kutta pairs with interpolants, Numer. Algorithms 53 (2010) "
        "383-396, the 'most efficient' 7(6) pair",
        b_hat="117807213929927/2640907728177740 0 0 4758744518816629500000/17812069906509312711137 "
        "1730775233574080000000000/7863520414322158392809673 "
        "2682653613028767167314032381891560552585218935572349997/"
        "12258338284789875762081637252125169126464880985167722660 40977117022675781250/178949401077111131341 "
        "0 0 2152106665253777/106040260335225546",
        embedded_order=6,
    ),
    _explicit(
        "dop853",
        (
            "0.0526001519587677318785587544488",
            "0.0197250569845378994544595329183 0.0591751709536136983633785987549",
            "0.0295875854768068491816892993775 0 0.0887627564304205475450678981324",
            "0.241365134159266685502369798665 0 -0.884549479328286085344864962717 0.924834003261792003115737966543",
            "0.037037037037037037037037037037 0 0 0.170828608729473871279604482173 0.125467687566822425016691814123",
            "0.037109375 0 0 0.170252211019544039314978060272 0.0602165389804559606850219397283 -0.017578125",
            "0.0370920001185047927108779319836 0 0 0.170383925712239993810214054705 "
            "0.107262030446373284651809199168 -0.0153194377486244017527936158236 "
            "0.00827378916381402288758473766002",
            "0.624110958716075717114429577812 0 0 -3.36089262944694129406857109825 "
            "-0.868219346841726006818189891453 27.5920996994467083049415600797 "
            "20.1540675504778934086186788979 -43.4898841810699588477366255144",
            "0.477662536438264365890433908527 0 0 -2.48811461997166764192642586468 "
            "-0.590290826836842996371446475743 21.2300514481811942347288949897 "
            "15.2792336328824235832596922938 -33.2882109689848629194453265587 "
            "-0.0203312017085086261358222928593",
            "-0.93714243008598732571704021658 0 0 5.18637242884406370830023853209 "
            "1.09143734899672957818500254654 -8.14978701074692612513997267357 "
            "-18.5200656599969598641566180701 22.7394870993505042818970056734 2.49360555267965238987089396762 "
            "-3.0467644718982195003823669022",
            "2.27331014751653820792359768449 0 0 -10.5344954667372501984066689879 "
            "-2.00087205822486249909675718444 -17.9589318631187989172765950534 "
            "27.9488845294199600508499808837 -2.85899827713502369474065508674 "
            "-8.87285693353062954433549289258 12.3605671757943030647266201528 "
            "0.643392746015763530355970484046",
        ),
        "0.0542937341165687622380535766363 0 0 0 0 4.45031289275240888144113950566 "
        "1.89151789931450038304281599044 -5.8012039600105847814672114227 0.31116436695781989440891606237 "
        "-0.152160949662516078556178806805 0.201365400804030348374776537501 0.0447106157277725905176885569043",
        8,
        "E. Hairer, S. P. Norsett, G. Wanner, Solving Ordinary Differential Equations I, 2nd ed., Springer "
        "(1993), section II.5, the twelve stages of the code DOP853 with its fifth-order error estimate, "
        "after P. J. Prince, J. R. Dormand, High order embedded Runge-Kutta formulae, J. Comput. Appl. Math. "
        "7 (1981) 67-75; published as decimals of 30 digits, kept as they are",
        b_hat="0.0411736891223738815055525466763 0 0 0 0 5.67546933912861332216170925866 "
        "2.38727684897175057456422398564 -7.4655811424655713184287418377 0.66149321570779357609756479137 "
        "-0.486340068375533557585910690905 0.119442194318914635909069111371 0.0670659235916588857765328353543",
        embedded_order=5,
        tolerance="1e-27",
    ),
)

TABLEAUX: Mapping[str, Tableau] = MappingProxyType({entry.name: entry for entry in (*_ENTRIES, *IMPLICIT)})
"""Every tableau by name, read-only: explicit ones, then implicit ones, simplest first."""

METHODS: Mapping[str, Method] = MappingProxyType({**TABLEAUX, **PARTITIONED, **SPLITTINGS})
"""Every method by name, read-only: the tableaux, the partitioned ones, the splittings."""

ALIASES: Mapping[str, str] = MappingProxyType(
    {
        "explicit-midpoint": "midpoint",
        "ssp22": "heun2",
        "heun": "heun2",
        "ralston": "ralston2",
        "bs32": "bogacki-shampine32",
        "bosh3": "bogacki-shampine32",
        "rk4-classic": "rk4",
        "three-eighths": "rk38",
        "rkf45": "fehlberg45",
        "ck54": "cash-karp54",
        "dopri5": "dormand-prince54",
        "dp54": "dormand-prince54",
        "tsit5": "tsitouras54",
        "bs54": "bogacki-shampine54",
        "vern6": "verner65",
        "vern7": "verner76",
        "forward-euler": "euler",
        "explicit-euler": "euler",
        "implicit-euler": "backward-euler",
        "radau2a1": "backward-euler",
        "gauss1": "implicit-midpoint",
        "gauss-legendre1": "implicit-midpoint",
        "crank-nicolson": "trapezoid",
        "trapezoidal": "trapezoid",
        "lobatto3a2": "trapezoid",
        "bilinear": "trapezoid",
        "tustin": "trapezoid",
        "gauss-legendre2": "gauss2",
        "hammer-hollingsworth": "gauss2",
        "gauss-legendre3": "gauss3",
        "kuntzmann-butcher": "gauss3",
        "radau3": "radau2a2",
        "radau5": "radau2a3",
        "alexander2": "sdirk2",
        "trbdf2": "tr-bdf2",
        "kennedy-carpenter43": "esdirk43",
        "semi-implicit-euler": "symplectic-euler",
        "euler-cromer": "symplectic-euler",
        "verlet": "stormer-verlet",
        "velocity-verlet": "stormer-verlet",
        "leapfrog": "stormer-verlet",
        "lobatto3ab2": "stormer-verlet",
        "lie-trotter": "lie",
        "zoh": "lie",
        "zero-order-hold": "lie",
        "strang-marchuk": "strang",
        "cayley": "lie-cayley",
    }
)
"""Other names in use for some of them."""
