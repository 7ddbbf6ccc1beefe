"""Files of tests/profiles: invented goods in the form of each platform's export, and what is in them."""

from dataclasses import dataclass
from pathlib import Path

FILES = Path(__file__).parent / "profiles"


@dataclass(frozen=True)
class Export:
    """A file in the form of a platform: its profile, form and products (id, title and categories), and its variants."""

    profile: str
    products: list[tuple[str, str, list[str]]]
    variants: int = 0
    delimiter: str = ","
    encoding: str = "utf-8"
    header: int = 0


EXPORTS = {
    "shopify.csv": Export(
        "shopify",
        [
            ("oak-stool", "Oak stool, three legs", ["Furniture > Chairs > Stools"]),
            ("linen-apron", "Linen apron with pocket", ["Home & Garden > Kitchen & Dining > Aprons"]),
            ("bike-bell", "Brass bike bell", ["Sporting Goods > Cycling > Bicycle Accessories"]),
        ],
        variants=2,
    ),
    "shopify_2025.csv": Export(  # without any value in Product category
        "shopify",
        [
            ("enamel-mug", "Enamel mug 350 ml", ["Home & Garden > Kitchen & Dining > Mugs"]),
            ("wool-blanket", "Wool blanket, herringbone", ["Home & Garden > Linens & Bedding > Blankets"]),
        ],
        variants=2,
    ),
    "woocommerce.csv": Export(
        "woocommerce",
        [
            ("501", "Rain jacket with taped seams", ["Clothing > Jackets", "Sale"]),
            ("504", "Garlic press", ["Kitchen > Pots, pans & tools > Presses"]),
            ("505", "Knitting pattern: mittens", ["Crafts"]),
        ],
        variants=2,
        encoding="utf-8-sig",
    ),
    "woocommerce_de.csv": Export(
        "woocommerce",
        [
            ("71", "Filzstiefel für Kinder", ["Schuhe > Hausschuhe"]),
            ("74", "Gießkanne 5 l, verzinkt", ["Garten > Bewässerung"]),
        ],
        variants=2,
    ),
    "woocommerce_zh.csv": Export(
        "woocommerce",
        [
            ("11", "手冲咖啡壶 云口 600ml", ["厨房 > 咖啡器具"]),
            ("13", "竹编灯罩", ["家居 > 灯具"]),
            ("14", "棉麻抱枕套 45x45", ["家居 > 布艺"]),
        ],
        variants=1,
    ),
    "google_merchant.tsv": Export(
        "google_merchant",
        [
            ("TR-S", "Trail running vest, S", ["Outdoor > Running > Vests"]),
            ("TR-M", "Trail running vest, M", ["Outdoor > Running > Vests"]),
            ("HL", "Head lamp 300 lm", ["Outdoor > Lights"]),
            ("CP", "Camp pillow", ["Outdoor > Sleeping, bags & mats"]),
        ],
        delimiter="\t",
    ),
    "google_merchant_g.csv": Export(
        "google_merchant",
        [
            ("1", "Sourdough basket, oval", ["Home & Garden > Kitchen & Dining > Bakeware"]),
            ("2", "Dough scraper", ["Home & Garden > Kitchen & Dining > Kitchen Tools"]),
            ("3", "Lame with five blades", ["Home & Garden > Kitchen & Dining > Kitchen Tools"]),
            ("4", "Proofing cloth", ["Home & Garden > Linens"]),
        ],
    ),
    "akeneo.csv": Export(
        "akeneo",
        [
            ("LMP-01", "Table lamp with brass foot", ["lamps_table", "sale_2026"]),
            ("LMP-02", "Floor lamp, arc", ["lamps_floor"]),
            ("RUG-01", "Jute rug, round", ["rugs"]),
            ("VAS-01", "Clay vase", []),
        ],
        delimiter=";",
    ),
    "magento.csv": Export(
        "magento",
        [
            ("TEE", "Hemp tee", ["Men", "Men > Tees"]),
            ("DECK", "Deck of cards, linen finish", ["Gear > Cards/Games"]),
            ("COURSE", "Evening course: pottery", ["Courses"]),
        ],
        variants=3,
    ),
    "prestashop.csv": Export(
        "prestashop",
        [
            ("9", "Carafe à décanter", ["Table > Carafes"]),
            ("10", "Nappe en lin 150x250", ["Linge de table"]),
            ("11", "Bougie cire d'abeille", ["Bougies", "Cadeaux"]),
            ("12", "Couteau à pain", ["Cuisine > Couteaux"]),
        ],
        delimiter=";",
    ),
    "bigcommerce.csv": Export(
        "bigcommerce",
        [
            ("301", "Canvas tote, long handles", ["Bags > Totes", "Sale"]),
            ("302", "Dog raincoat", ["Pets > Coats/Vests"]),
            ("303", "Gift card", ["Gifts"]),
        ],
        variants=2,
    ),
    "bigcommerce_v3.csv": Export(
        "bigcommerce",
        [("41", "Rope leash 1.5 m", ["Pets > Leashes"]), ("42", "Feeding bowl, stoneware", ["Pets > Bowls"])],
        variants=2,
    ),
    "amazon.txt": Export(
        "amazon",
        [("CAP-P", "Skerry wool cap", ["skull-caps"]), ("CUP-1", "Holmvik travel cup", ["travel-mugs"])],
        variants=2,
        delimiter="\t",
        header=2,
    ),
    "amazon_2025.txt": Export(
        "amazon",
        [
            ("BLK-P", "Notizblock A5 kariert", ["notebooks"]),
            ("STF-1", "Bleistift HB, 12 Stück", ["pencils"]),
            ("RAD-1", "Radiergummi", ["erasers"]),
        ],
        variants=1,
        delimiter="\t",
        header=4,
    ),
    "taobao.csv": Export(
        "taobao",
        [
            ("900000000001", "手工皂 桂花味 100g", ["50011980"]),
            ("900000000002", "藤编收纳筐 带盖", ["50012486"]),
            ("900000000003", "亚麻桌旗 30x180", ["50012791"]),
            ("900000000004", "陶瓷香插", ["50012486"]),
        ],
        delimiter="\t",
        encoding="utf-16",
        header=2,
    ),
    "jd.csv": Export(
        "jd",
        [
            ("700001", "溪田 竹纤维毛巾 三条装", ["家居日用 > 毛巾浴巾 > 毛巾"]),
            ("700002", "溪田 竹纤维毛巾 三条装 蓝", ["家居日用 > 毛巾浴巾 > 毛巾"]),
            ("700003", "云口 电热水壶 1.2L", ["家用电器 > 厨房小电 > 电水壶"]),
            ("700004", "山雀 儿童雨衣", ["母婴 > 童装"]),
        ],
        encoding="gb18030",
    ),
    "1688.csv": Export(
        "1688",
        [
            ("610000000001", "厂家批发加厚帆布围裙", ["家居用品 > 厨房用品 > 围裙"]),
            ("610000000002", "不锈钢保温饭盒 双层", ["家居用品 > 餐饮用具 > 饭盒"]),
            ("610000000003", "宠物牵引绳 反光", ["宠物用品 > 牵引"]),
            ("610000000004", "硅胶折叠水桶", ["户外用品"]),
        ],
        encoding="gb18030",
    ),
}
