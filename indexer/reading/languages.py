"""Letters of languages with the bits that each takes, used to tell encodings apart.

Bits are minus the binary logarithm of a character's share of a text. A text is cheap in its own language and dear
in any other, so that the bits of two readings of the same bytes can be compared. Frequencies are rounded: only their
order of magnitude matters.
"""

from dataclasses import dataclass
from functools import cache
from math import log2

# Hanzi by frequency, and the ones that names of goods add.
COMMON_HANZI = (
    "的一是不了在人有我他这个们中来上大为和国地到以说时要就出会可也你对生能而子那得于着下自之年过发后作里用道行所然家种事成方多经"
    "么去法学如都同现当没动面起看定天分还进好小部其些主样理心她本前开但因只从想实日军者意无力它与长把机十民第公此已工使情明性知全三"
    "又关点正业外将两高间由问很最重并物手应战向头文体政美相见被利什二等产或新己制身果加西斯月话合回特代内信表化老给世位次度门任常先"
    "海通教儿原东声提立及比员解水名真论处走义各入几口认条平系气题活尔更别打女变四神总何电数安少报才结反受目太量再感建务做接必场件计"
    "管期市直德资命山金指克许统区保至队形社便空决治展马科司五基眼书非则听白却界达光放强即像难且权思王象完设式色路记南品住告类求据程"
    "北边死张该交规万取拉格望觉术领共确传师观清今切院让识候带导争运"
    "款装盒袋瓶包箱套袖裤裙鞋衣衫帽袜童婴孩春夏秋冬季韩版厚薄透防晒纯棉绒皮毛针织宽松修身短圆翻领休闲商务百搭时尚显瘦双单层肩背挎旅"
    "行拉链钥匙扣香奶茶糖饼干果蛋牛肉猪鸡鱼虾米面粉油盐酱醋酒饮料汁咖啡豆红绿蓝黑灰粉紫黄橙棕银味甜辣酸苦咸麻鲜零食早餐低脂孕宝洗发"
    "沐浴露护肤霜乳液膏精华膜补保湿祛斑控洁牙刷巾纸湿尿片粘胶笔本贴膜壳线充器灯泡插座锅碗盘杯壶勺筷刀砧板架床垫被枕窗帘毯桌椅柜凳收"
    "纳塑料玻璃陶瓷不锈钢木竹铁硅橡耳机蓝牙无线音箱手表智能屏键鼠标盘硬存储卡电池续航快闪镜头相摄跑步运球拍泳瑜伽登露营帐篷自车汽胎"
    "玩具积拼图遥控娃熊猫狗宠粮砂药维生素钙胶囊颗粒丸适用型号官方旗舰店正品专用超强特级升级加大小号码件个只支条克斤升毫厘米寸元"
)
# Simplified characters, each followed by its traditional form.
TRADITIONAL_FORMS = (
    "这這个個们們来來为為国國说說时時会會对對于於过過发發后後里裡种種经經么麼学學现現当當没沒动動还還进進样樣开開从從实實军軍无無"
    "与與长長机機关關点點业業将將两兩间間问問应應战戰头頭体體见見产產话話给給门門儿兒东東声聲员員论論处處义義几幾认認条條气氣题題"
    "尔爾别別变變总總电電数數报報结結务務场場计計资資许許统統区區队隊决決马馬书書则則听聽达達强強难難权權设設记記类類据據边邊张張"
    "该該规規万萬觉覺术術领領确確传傳师師观觀让讓识識带帶导導争爭运運装裝裤褲袜襪婴嬰韩韓织織宽寬单單层層链鏈钥鑰饼餅干乾鸡雞鱼魚"
    "虾蝦面麵盐鹽酱醬饮飲红紅绿綠蓝藍黄黃银銀鲜鮮护護补補湿濕洁潔纸紙笔筆贴貼线線灯燈锅鍋盘盤壶壺枕枕帘簾柜櫃纳納锈鏽钢鋼铁鐵"
    "键鍵标標储儲续續闪閃镜鏡摄攝营營帐帳车車积積图圖猫貓宠寵粮糧药藥维維钙鈣胶膠颗顆适適号號专專级級码碼厘釐"
)
COMMON_HANGUL = (
    "이다는의에가을지고하기사리로한은도해를아인나시어라그들자스대보일게서만정과수부상여전있제없으동우니주것구공장원경비소마안조세미"
    "신분모성오면선무용선방위연국문중내반생실발물화드트프크르타파카차래레루라러려력품입출식천백만개명남여신겨울름봄가락바지셔츠치마"
    "니키즈블랙화이트레드그린블루핑크색스텔플실리콘컵접시냄비칼팬블루투이어폰선풍청소기전자밥솥커피우유과자초콜릿라면김쌀고추장된간"
    "참치돼불닭콩두음료차녹홍삼생강꿀빵떡죽국밥컬샴푸린비누칫솔약토너션크림에센마스팩향로션형저당매직업능터쿠폰션패션캐릭키링폰케"
    "블유무양말모운화샌들슬퍼백팩크로가방갑벨트목걸귀반욕실거울의침구이불베개커튼매트러그판넬조명책상컴퓨보드우스니헤셋충케"
    "까거걸건결계관교군권글급날너년노논높느늘능단달담당더던데돌되될든또람량런례료류른를린말맞매먹며못민받배버번법변별본북빛산새"
    "색설속손송순술습승심써야양억언얼업역영예와완왜외요운울움워월육율은응저적절점접정족존종좋죄준줄증직진집째참창책처체최추축출충"
    "취치친켜코크키통투특편평포표필학함합항행향허험현형호혼환활황회효후훈휴흥희"
)
COMMON_KANJI = (
    "日一国人年大十二本中長出三時行見月分後前生五間上東四今金九入学高円子外八六下来気小七山話女北午百書先名川千水半男西電校語土木"
    "聞食車何南万毎白天母火右読友左休父雨用品式型色付無新袋箱個枚器具機能性対応軽量防水耐熱保温冷凍洗濯乾燥掃除収納台所料理茶飲味"
    "塩油酒米麺肉魚野菜果物菓子牛豚鶏海苔醤油味噌抹緑黒赤青黄紫銀灰桃紺製革布綿毛麻絹鉄銅木竹紙石陶磁服靴帽子傘鞄財布腕時計指輪"
    "眼鏡化粧肌美容液髪剤薬歯磨石鹸風呂寝枕布団毛椅子机棚照明灯充電池音楽写真画面携帯自転動玩遊犬猫花植種工事専門家庭業務国産送料"
    "込限定特価安全公正規取扱説明付属替交換簡単便利強力高級厚薄太細幅丸角折畳組立両開閉回転調整固定設置季節夏冬春秋祝贈"
)
HIRAGANA, KATAKANA = ("".join(map(chr, range(first, first + 83))) for first in (0x3041, 0x30A1))
WIDE_SIGNS = "，。、（）【】！：；？“”‘’《》「」『』・·％＋－—～…ー〜×℃①②③④⑤°±〇々　★☆■□◆◇●○◎△▲▼♥♡→←※＆＊／"
# Signs that names of goods have in any language.
SIGNS = "®™°’“”–€£²³½¼×…‘„«»—•©·µ´\xa0№§ºªʻʼ"

UNUSUAL = 18.0  # bits of a letter that the language does not use
STRANGE = 24.0  # bits of any other sign
IN_NO_TEXT = 60.0  # bits of a character that is in no text
# Bits of characters in UTF-8, which has all languages.
SIGN, FOREIGN, RARE = 5.0, 9.0, 14.0  # a sign of SIGNS, a letter of an alphabet that no language below has, any other
UPPER = 2.0  # additional bits of a capital letter
ACCENTED = 4.0  # bits of having a letter beyond ASCII in a language of Latin letters
_ASCII = "".join(map(chr, range(128)))
ASCII_BITS = 6.0


@dataclass(frozen=True, slots=True)
class Language:
    """Bits of each character, and the most bits per character beyond ASCII that texts take (usually two fewer)."""

    bits: dict[str, float]
    limit: float


def _alphabet(letters: str, decay: float, start: float, limit: float) -> Language:
    """Return a language whose letters, most frequent first, each have `decay` times the share of the one before."""
    bits = {letter: start - log2((1 - decay) * decay**rank) for rank, letter in enumerate(letters)}
    bits = {letter.upper(): cost + UPPER for letter, cost in bits.items() if len(letter.upper()) == 1} | bits
    return Language(dict.fromkeys(SIGNS, 7.0) | bits | dict.fromkeys(_ASCII, ASCII_BITS), limit)


def _latin(letters: str) -> Language:
    return _alphabet(letters, 0.7, ACCENTED, 13.5)


def _other(letters: str) -> Language:
    return _alphabet(letters, 0.9, 0.5, 7.5)


def _groups(*groups: tuple[float, str]) -> Language:
    """Return a language whose characters come in groups: the share of each in a text in percent, and its characters."""
    bits: dict[str, float] = {}
    for percent, characters in groups:
        distinct = set(characters)
        bits = dict.fromkeys(distinct, -log2(percent / 100 / len(distinct))) | bits
    return Language(dict.fromkeys(SIGNS, 14.0) | bits | dict.fromkeys(_ASCII, ASCII_BITS), 13.5)


def _rows(codec: str, first: int, last: int) -> str:
    """Return the two-byte characters of a codec whose first byte is in a range: standards put common ones together."""
    trails = [*range(0x40, 0x7F), *range(0xA1, 0xFF)]
    return "".join(bytes([lead, trail]).decode(codec, "ignore") for lead in range(first, last + 1) for trail in trails)


def traditional(text: str) -> str:
    """Return simplified Chinese in traditional characters, as far as `TRADITIONAL_FORMS` has them."""
    return text.translate(str.maketrans(TRADITIONAL_FORMS[::2], TRADITIONAL_FORMS[1::2]))


@cache
def languages() -> dict[str, Language]:
    """Return all languages by name."""
    return {
        "German": _latin("üäößéèàêôç"),
        "French": _latin("éèàêçâîôûùœïëüñ"),
        "Spanish": _latin("óíáéñúüç¿¡"),
        "Portuguese": _latin("ãçáéíóõêâúàôü"),
        "Italian": _latin("àèéùòìî"),
        "Dutch": _latin("éëïèöüóá"),
        "Danish": _latin("øåæéäöü"),
        "Swedish": _latin("äåöéüà"),
        "Icelandic": _latin("áðíúóéþýöæ"),
        "Polish": _latin("łóąężśćńźé"),
        "Czech": _latin("íáéěřčžýšůúťňďóöü"),
        "Slovak": _latin("áíčéýžšúťľňôóďäĺŕ"),
        "Hungarian": _latin("éáőöóüíúű"),
        "Romanian": _latin("ăţîâşéțș"),
        "Croatian": _latin("čšžćđé"),
        # Files with several languages.
        "Western": _alphabet("éäüöàåèøóáíçñãêßæõôâîúùòïëûìœ", 0.9, ACCENTED, 13.5),
        "Central": _alphabet("áéíóčšžřěýłőąęśćżăţîúůűâťńňźľďđôäöü", 0.9, ACCENTED, 13.5),
        "Turkish": _latin("ıüşğçöİâéî"),
        "Russian": _other("оеаинтсрвлкмдпугяызбьйчхжшюцщэфъё"),
        "Ukrainian": _other("оаніирвтесклудмпзяьбгйчхцїюжєшщфґ"),
        "Bulgarian": _other("аиоентрсвлкдпмзгяъубчйжщхцшюфь"),
        "Serbian": _other("аиоенрсуткјвдмплгзбчшцжљхњћђфџ"),
        "Greek": _other("ατοιενρσκηπςυμλίόάγέδήωχθύφβξζώψϊϋΐΰ"),
        "Hebrew": _other("יוהלרבתמאשנעםדקחפסכגטצןזךףץ"),
        "Arabic": _other("اليمونرتبةعدسفهكقأحجشطصىخإضزذثئغءظؤآ"),
        "Thai": _other("านรอ่กเ้งมย\u0e31ลวด\u0e35ทตส\u0e34ะป\u0e37บคหแจพชขใไ\u0e39\u0e38ผโถณ"
            "\u0e4cธ\u0e33\u0e47ซศษ\u0e36ฐญฟภฉฝฆฮฏฎฒๆฯ"),
        "Lithuanian": _latin("ėųšžįąūčę"),
        "Latvian": _latin("āīēšūņļžķģč"),
        "Estonian": _latin("äõüöšž"),
        "Chinese": _groups(
            (70, COMMON_HANZI), (22, _rows("gb2312", 0xB0, 0xD7)), (0.7, _rows("gb2312", 0xD8, 0xF7)),
            (1, _rows("big5", 0xA4, 0xC6)), (5, WIDE_SIGNS), (0.5, HIRAGANA + KATAKANA),
        ),
        "Traditional Chinese": _groups(
            (70, traditional(COMMON_HANZI)), (24, _rows("big5", 0xA4, 0xC6)), (0.7, _rows("big5", 0xC9, 0xF9)),
            (5, WIDE_SIGNS),
        ),
        "Japanese": _groups(
            (20, HIRAGANA), (35, KATAKANA), (25, COMMON_KANJI), (10, _rows("euc_jp", 0xB0, 0xCF)),
            (0.7, _rows("euc_jp", 0xD0, 0xF4)), (6, WIDE_SIGNS), (1, "".join(map(chr, range(0xFF01, 0xFFA0)))),
        ),
        "Korean": _groups((80, COMMON_HANGUL), (16, _rows("euc_kr", 0xB0, 0xC8)), (2, WIDE_SIGNS)),
    }  # fmt: skip


LATIN = ("German", "French", "Spanish", "Portuguese", "Italian", "Dutch", "Danish", "Swedish", "Icelandic",
         "Polish", "Czech", "Slovak", "Hungarian", "Romanian", "Croatian", "Western", "Central", "Turkish")  # fmt: skip
CYRILLIC = ("Russian", "Ukrainian", "Bulgarian", "Serbian")


@cache
def any_language() -> Language:
    """Return a language that has all letters of all languages."""
    merged: dict[str, float] = {}
    for language in languages().values():
        merged |= {char: min(bits, merged.get(char, bits)) for char, bits in language.bits.items()}
    return Language(merged | dict.fromkeys(SIGNS, SIGN), RARE)
