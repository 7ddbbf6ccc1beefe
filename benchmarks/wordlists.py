"""Names of goods in many languages, made from lists of words: kinds of goods with something before and behind them."""

import random

# For each language: words before, kinds of goods, and words behind, each separated by "/".
WORDS = {
    "German": (
        "Große/Kleine/Schöne/Weiße/Grüne/Süße/Günstige/Praktische/Elegante/Robuste/Kabellose/Natürliche/"
        "Höhenverstellbare/Müller/Größere",
        "Bügelmaschine/Kaffeemühle/Wärmflasche/Küchenwaage/Schüssel/Mütze/Tür/Möhrensuppe/Gemüsebrühe/Käsereibe/"
        "Bürste/Lampe/Hängematte/Gießkanne/Tasche/Spülmaschine/Matratze/Äpfelkiste/Nähmaschine/Öllampe/Blumenerde/"
        "Jacke/Heizdecke/Kühlbox/Rührschüssel/Zahnbürste",
        "für Männer/für Mädchen/mit Füßen/aus Weißblech/Größe 42/10 Stück/mit Gehäuse/für die Küche/schwarz/"
        "in Übergröße/5 m²/bis 60 °C/groß",
    ),
    "French": (
        "Petite/Belle/Élégante/Légère/Nouvelle/Ancienne/Véritable/Première/Célèbre/Grande/Lot de 2/Coffret de la/"
        "Très grande/Étroite/La même",
        "théière/cafetière à piston/lampe de chevet/crème brûlée/purée de pommes/poêle à frire/étagère/"
        "boîte à goûter/gâteau au chocolat/fenêtre/bière blonde/chemise à carreaux/tête de lit/veste imperméable/"
        "pâte à tartiner/machine à café/clé à molette/écharpe/housse de protection/balançoire/bouée/pièce détachée/"
        "flûte à champagne/râpe à légumes/éponge/châtaigne/maïs doux",
        "pour bébé/en métal/été 2024/à l’ancienne/rosé/au maïs/garçon/façon cuir/réglable/sans gluten/"
        "de qualité supérieure/noël/où que ce soit",
    ),
    "Spanish": (
        "Pequeño/Nuevo/Clásico/Económico/Ecológico/Mágico/Auténtico/Juego de/Rápido/Cómodo/Único/Español/Eléctrico/"
        "Automático/Básico",
        "pantalón/jabón/cinturón/sillón/colchón/ratón/cajón/balón/champú/paño/baúl/salchichón/limón/té verde/"
        "melocotón/turrón/muñeco/jamón/camión/bolígrafo/sartén/teléfono/plátano/azúcar moreno/moño/móvil/"
        "baño portátil/café/sofá/termómetro",
        "para niños/de algodón/de niña/con tapón/de almacén/para bebés/tamaño grande/de diseño/sin azúcar/"
        "de montaña/hidratación/también/¡oferta!",
    ),
    "Portuguese": (
        "Novo/Pequeno/Clássico/Promoção de/Mágico/Elétrico/Automático/Prático/Português/Cômodo/Fácil/Conjunto de/"
        "Último/Econômico/Orgânico",
        "colchão/sabão em pó/fogão/pão de queijo/calção/avião/macarrão/limão/cordão/portão/óculos/tênis/relógio/"
        "chapéu/açúcar/café/maçã/cinto/camarão/armário/violão/botão/edredão/chá verde/pêssego/lâmpada/câmera/sutiã/"
        "feijão/mamão",
        "para bebês/de algodão/infância/com proteção/de criança/tamanho médio/de coração/não tóxico/com opções/"
        "de mão/de verão/sem glúten/à prova d'água",
    ),
    "Italian": (
        "Nuovo/Piccolo/Più leggero/Qualità superiore/Classico/Città/Così fresco/Tè verde/Caffè/Metà prezzo/Novità/"
        "Comodità/Originale/Perché no",
        "caffè macinato/ragù alla bolognese/tiramisù/tè nero/bidè/babà al rum/sofà letto/purè di patate/"
        "papà gelato/bignè/zaino/lampada/coltello/scarpe/canapè/gilè/lacchè/cabarè/pantalone/borsa/baccalà/comò/"
        "oblò/menù/bambù/tribù/rosé/fonduè",
        "di qualità/per la città/più grande/in bambù/a metà/per papà/blu/comodità/di libertà/virtù/con novità/"
        "per età 3+/lunedì",
    ),
    "Swedish": (
        "Liten/Stor/Grön/Blå/Röd/Vår bästa/Lätt/Härlig/Trådlös/Svart/Fläckfri/Böjlig/Två/Små/Några",
        "kökslåda/nötkrämer/hörlurar/strömbrytare/smörkniv/mössa/tröja/gräsklippare/blåbär/kålrot/påse/lök/bröd/"
        "mjölk/stövlar/väska/tvättmedel/ägg/ost/fåtölj/sängkläder/gröt/hängare/tändare/öronproppar/åkpåse/nål/båt",
        "för män/för små barn/till köket/på hjul/utan hål/i trä/å la carte/för kök/från Skåne/med lås/två år/"
        "större/högst 5 år",
    ),
    "Danish": (
        "Lille/Stor/Grøn/Blå/Rød/Sød/Trådløs/Økologisk/Let/Smart/Ældre/Hård/Blød/Ny dansk/Små",
        "æblekage/øreringe/køkkenkniv/børste/frøpose/rugbrød/smørrebrød/gærpose/mælk/grød/tørklæde/skærebræt/"
        "værktøj/sko/støvsuger/lås/håndklæde/bælte/råkost/strømper/kålsalat/sæbe/støvler/tæppe/øl/ærter/hængekøje/"
        "ål",
        "til mænd/til børn/på hjul/i træ/uden låg/fra Sjælland/til køkken/til små/år 2024/større/med lås/æske/"
        "på tilbud",
    ),
    "Finnish": (
        "Pieni/Iso/Hyvä/Sähköinen/Pehmeä/Kevyt/Lämmin/Vihreä/Söpö/Kestävä/Tyylikäs/Näppärä/Älykäs/Terävä/Märkä",
        "pöytä/käsipyyhe/leipäveitsi/hääpuku/pyörä/tyyny/köysi/mökkiavain/jäätelö/päärynä/lämpömittari/"
        "herätyskello/säilytyslaatikko/keittiövaaka/sänky/kenkä/hylly/löylykauha/hillo/töpseli/jääkaappi/lääke/"
        "päähine/mänty",
        "äidille/isälle/pöydälle/mökille/kesäksi/talveksi/keittiöön/lapsille/väri sininen/2 kpl/hyvään oloon/yöksi/"
        "työhön",
    ),
    "Polish": (
        "Duży/Mały/Piękny/Świeży/Żółty/Średni/Ciepły/Składany/Dziecięcy/Męski/Łatwy/Źródlany/Nowość/Kuchenny/"
        "Świąteczny",
        "nóż kuchenny/szlafrok/ręcznik/sok jabłkowy/chleb żytni/płaszcz/łańcuch/dżem śliwkowy/żurek/wąż ogrodowy/"
        "kubek/obrączka/książka/fotel bujany/miód lipowy/ćwiartka/pościel/świeca/poduszka/śrubokręt/łyżka/bęben/"
        "kołdra/źrebak/łóżko/śmietana/gąbka/młynek/piłka/buty",
        "dla mężczyzn/dla dzieci/z rączką/do łazienki/z bawełny/ze stali/100 sztuk/na ścianę/śliwkowy/do włosów/"
        "dla niemowląt/wysokość 5 cm/późny",
    ),
    "Czech": (
        "Velký/Malý/Krásný/Dětský/Pánský/Dámský/Žlutý/Černý/Bílý/Skládací/Lehký/Čerstvý/Domácí/Kuchyňský/Tříbarevný",
        "nůž/hrnec/svíčka/polštář/židle/stůl/česnek/mýdlo/sýr/chléb/kávovar/džbán/šátek/košile/boty/ručník/peřina/"
        "křeslo/hračka/žárovka/lžíce/tužka/knížka/kolečko/pračka/ořechy/řetěz/šroubovák/měď/síť/ťapka/běžky/růže/"
        "čepice",
        "pro děti/pro ženy/z nerezové oceli/na zeď/do kuchyně/bavlněný/se šňůrkou/100 kusů/šířka 5 cm/s víčkem/"
        "k moři/příchuť jahoda/měkký",
    ),
    "Slovak": (
        "Veľký/Malý/Krásny/Detský/Pánsky/Žltý/Čierny/Biely/Skladací/Ľahký/Čerstvý/Domáci/Kuchynský/Vianočný/Ďalší",
        "nôž/hrniec/sviečka/vankúš/stolička/stôl/cesnak/mydlo/chlieb/kávovar/šatka/košeľa/topánky/uterák/paplón/"
        "hračka/žiarovka/lyžica/ceruzka/kniha/práčka/kôš/reťaz/skrutkovač/posteľ/ťava/ľan/vôňa/kĺb/tŕň/soľ/šnúrka",
        "pre deti/pre ženy/na stenu/do kuchyne/bavlnený/100 kusov/šírka 5 cm/s viečkom/pri mori/príchuť jahoda/"
        "mäkký/v balení/väčší",
    ),
    "Hungarian": (
        "Nagy/Kicsi/Szép/Új/Gyönyörű/Zöld/Piros/Könnyű/Erős/Női/Férfi/Összecsukható/Hűtött/Időtálló/Különleges",
        "kés/bögre/fűszer/törölköző/párna/cipő/esernyő/tükör/szőnyeg/kenyér/gyümölcslé/főzőlap/hűtőszekrény/"
        "mosógép/fülhallgató/kávéfőző/öltöny/sütőforma/kötény/ágynemű/gyűrű/tömlő/csavarhúzó/zsebkendő/fésű/olló/"
        "mézeskalács/üveg/szűrő/nyakkendő",
        "gyerekeknek/nőknek/férfiaknak/műanyag/fából/konyhába/fürdőszobába/méret 42/5 db/erős/ősz/vízálló/"
        "különböző színű",
    ),
    "Romanian": (
        "Mare/Mică/Frumoasă/Nouă/Verde/Roșie/Ușoară/Pliabilă/Clasică/Naturală/Tradițională/Românească/Proaspătă/"
        "Cană/Albă",
        "cămașă/rochie/pernă/lampă/pâine/brânză/cană/sticlă/pătură/jucărie/umbrelă/bijuterie/fotoliu/mâncare/"
        "lumânare/săpun/cuțit/șosete/țigaie/mașină/încălțăminte/îngrășământ/rață/gheață/față de masă/pălărie/"
        "mănuși/apă",
        "pentru copii/pentru bărbați/din oțel/de bucătărie/cu mâner/de vară/înaltă/fără zahăr/și capac/de iarnă/"
        "mărime 42/în cutie/ţesută",
    ),
    "Croatian": (
        "Veliki/Mali/Lijepi/Dječji/Muški/Ženski/Žuti/Crni/Sklopivi/Lagani/Svježi/Domaći/Kuhinjski/Božićni/Moćni",
        "nož/lonac/svijeća/jastuk/stolac/češnjak/sapun/kruh/čaj/šal/košulja/čizme/ručnik/igračka/žarulja/žlica/"
        "knjiga/perilica/lančić/odvijač/šećer/kolač/ogrtač/čaša/vreća/ključ/bučica/anđeo/đumbir/krpa",
        "za djecu/za žene/za kuću/od čelika/pamučni/širina 5 cm/100 komada/s poklopcem/mekši/veći/u boji višnje/"
        "noću/kući",
    ),
    "Turkish": (
        "Büyük/Küçük/Güzel/Yeşil/Kırmızı/Sarı/Çocuk/Kadın/Erkek/Şık/Işıklı/Katlanır/Doğal/İnce/Hızlı",
        "bıçak/bardağı/ayakkabı/gömlek/yağmurluk/şapka/çanta/kulaklık/şarj kablosu/ışıldak/tişört/çorap/ütü masası/"
        "yastık/koltuk/sandığı/peçete/şeker/çay kaşığı/bisküvi/peynir/yoğurt/kılıf/saç kurutma makinesi/"
        "diş fırçası/fırın tepsisi/ızgara/süpürge/kağıt/düğme",
        "çocuklar için/pamuklu/siyah/çelik/10 adet/mutfak için/kışlık/yazlık/ağır/su geçirmez/şeffaf/İtalyan/"
        "beş yıl garantili",
    ),
    "Russian": (
        "Большой/Маленький/Новый/Детский/Мужской/Женский/Чёрный/БЕЛЫЙ/Складной/Лёгкий/Кухонный/Электрический/"
        "Беспроводной/Зимний/Набор",
        "нож/чайник/пылесос/утюг/кошелёк/рюкзак/костюм/свитер/шарф/стол/стул/диван/ковёр/мёд цветочный/"
        "сок яблочный/шоколад/крем для рук/шампунь/порошок/фонарь/телефон/наушники/кофе молотый/чай зелёный/плед/"
        "зонт/мяч/велосипед/щётка/ёршик/сыр/хлеб",
        "для детей/для дома/из нержавеющей стали/500 мл/10 шт/с крышкой/XL/хлопок/USB/подарочный/на кухню/"
        "объём 2 л/премиум",
    ),
    "Greek": (
        "Μεγάλο/Μικρό/Νέο/Παιδικό/Ανδρικό/Γυναικείο/Μαύρο/ΛΕΥΚΟ/Πτυσσόμενο/Ελαφρύ/Ηλεκτρικό/Ασύρματο/Χειμερινό/"
        "Φυσικό/Κλασικό",
        "μαχαίρι/ποτήρι/πουκάμισο/παπούτσι/μπουφάν/καπέλο/τραπέζι/καναπές/χαλί/μέλι/ελαιόλαδο/γιαούρτι/σαπούνι/"
        "σαμπουάν/τηλέφωνο/ακουστικά/καφές/τσάι/ομπρέλα/μπάλα/ποδήλατο/βούρτσα/τυρί/ψωμί/πετσέτα/μαξιλάρι/κουτάλι/"
        "λάμπα/ρολόι/ψυγείο",
        "για παιδιά/για το σπίτι/από ανοξείδωτο ατσάλι/500 ml/10 τεμάχια/με καπάκι/XL/βαμβακερό/USB/δώρου/κουζίνας/"
        "μέγεθος 42/ΠΡΟΣΦΟΡΑ",
    ),
    "Japanese": (
        "新品/送料無料/ポータブル/大容量/軽量/国産/子供用/メンズ/レディース/折りたたみ/かわいい/業務用/おしゃれな/"
        "高級/ソニー",
        "ワイヤレスイヤホン/電気ケトル/炊飯器/掃除機/タオル/スニーカー/リュックサック/緑茶/醤油/味噌/お菓子/"
        "シャンプー/洗剤/傘/椅子/机/ランプ/包丁/フライパン/まくら/毛布/Tシャツ/腕時計/自転車/ぬいぐるみ/"
        "ペットフード/日焼け止め/鉛筆/消しゴム/弁当箱/扇風機/カメラ",
        "防水/2個セット/500ml/日本製/ブラック/プレゼント/家庭用/夏用/Mサイズ/充電式/保温保冷/人気/10枚入り",
    ),
    "Korean": (
        "대용량/휴대용/무선/남성용/여성용/어린이/국산/신상/프리미엄/접이식/천연/겨울/여름/다용도/고급",
        "블루투스 이어폰/전기 주전자/밥솥/청소기/수건/운동화/백팩/녹차/간장/된장/과자/샴푸/세제/우산/의자/책상/"
        "스탠드 조명/식칼/프라이팬/베개/이불/반팔 티셔츠/손목시계/자전거/인형/강아지 사료/선크림/연필/지우개/"
        "도시락통/선풍기/카메라/고추장/라면/마스크팩",
        "방수/2개 세트/500ml/블랙/선물용/가정용/캠핑/L 사이즈/충전식/보온 보냉/인기/10매입/화이트",
    ),
    "Traditional Chinese": (
        "全新/免運/大容量/輕量/國產/兒童/男士/女裝/摺疊/可愛/業務用/時尚/高級/台灣製/無線",
        "藍牙耳機/電熱水壺/電鍋/吸塵器/毛巾/運動鞋/後背包/綠茶/醬油/味噌/鳳梨酥/洗髮精/洗衣粉/雨傘/椅子/書桌/檯燈/"
        "菜刀/平底鍋/枕頭/棉被/短袖上衣/手錶/自行車/玩偶/狗飼料/防曬乳/鉛筆/橡皮擦/便當盒/電風扇/照相機/烏龍茶/"
        "太陽餅/滑鼠",
        "防水/兩入組/500ml/黑色/送禮/家庭用/夏季/M號/充電式/保溫保冷/熱銷/10片裝/贈品",
    ),
    "Chinese": (
        "全新/包邮/大容量/轻薄/国产/儿童/男士/女装/折叠/可爱/商用/时尚/高级/加厚/无线",
        "蓝牙耳机/电热水壶/电饭煲/吸尘器/毛巾/运动鞋/双肩包/绿茶/酱油/豆瓣酱/饼干/洗发水/洗衣液/雨伞/椅子/书桌/"
        "台灯/菜刀/平底锅/枕头/棉被/短袖T恤/手表/自行车/毛绒玩具/狗粮/防晒霜/铅笔/橡皮/便当盒/电风扇/照相机/乌龙茶/"
        "月饼/鼠标",
        "防水/两件套/500ml/黑色/送礼/家用/夏季/M码/充电式/保温/热销/10片装/赠品",
    ),
    # Other languages, for other encodings.
    "Hebrew": (
        "חדש/גדול/קטן/ילדים/שחור/לבן",
        "סכין/כוס/חולצה/נעליים/תיק/שולחן/כיסא/דבש/שוקולד/סבון",
        "לבית/במבצע/מתנה/כותנה/500 מל",
    ),
    "Arabic": (
        "جديد/كبير/صغير/أطفال/أسود/أبيض",
        "سكين/كوب/قميص/حذاء/حقيبة/طاولة/كرسي/عسل/شوكولاتة/صابون",
        "للمنزل/عرض/هدية/قطن/500 مل",
    ),
    "Thai": (
        "ใหม่/ใหญ่/เล็ก/เด็ก/สีดำ/สีขาว",
        "มีด/แก้วน้ำ/เสื้อ/รองเท้า/กระเป๋า/โต๊ะ/เก้าอี้/น้ำผึ้ง/ช็อกโกแลต/สบู่",
        "สำหรับบ้าน/ลดราคา/ของขวัญ/ผ้าฝ้าย",
    ),
    "Lithuanian": (
        "Didelis/Mažas/Gražus/Šviežias/Žalias/Juodas/Vaikiškas/Moteriškas",
        "peilis/puodelis/marškiniai/batai/kėdė/stalas/pagalvė/rankšluostis/sūris/obuolių sultys/žvakė/šaukštas/"
        "žaislas/lėlė/ąžuolas",
        "vaikams/namams/dovanų/10 vienetų/iš medvilnės/virtuvei/į sieną/už pusę kainos",
    ),
}


def titles(language: str, n: int, seed: int = 0) -> list[str]:
    """Return up to n distinct titles of a language that have letters beyond ASCII."""
    before, goods, behind = (part.split("/") for part in WORDS[language])
    every = [f"{a} {b} {c}" for a in before for b in goods for c in behind]
    beyond = [title for title in every if any(char.isalpha() and not char.isascii() for char in title)]
    return random.Random(seed).sample(beyond, min(n, len(beyond)))
