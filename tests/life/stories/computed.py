"""What tools compute from the files of several packages, and of the machine."""

from __future__ import annotations

from ..story import Story

STORIES = (
    Story(
        "fonts",
        first=("fontconfig", "fonts-dejavu-core"),
        second=("fonts-liberation",),
        use="mkdir -p /usr/local/share/fonts && cp /usr/share/fonts/truetype/dejavu/DejaVuSans.ttf"
        " /usr/local/share/fonts/Mine.ttf && fc-cache -s",
        checks={"fonts": "fc-list : file | sort", "match": "fc-match 'Liberation Sans'"},
    ),
    Story(
        "library",
        first=("libblas3", "fakeroot"),
        second=("libopenblas0-pthread",),
        use="""
mkdir -p /usr/local/lib/mine
cp /usr/lib/*-linux-gnu/libfakeroot/libfakeroot-0.so /usr/local/lib/mine/libmine.so.0
echo /usr/local/lib/mine >/etc/ld.so.conf.d/mine.conf
ldconfig
""",
        checks={
            "cache": "ldconfig -p | grep -E 'blas|fakeroot|/mine/'",
            "alternative": "readlink -f /usr/lib/*-linux-gnu/libblas.so.3",
        },
    ),
    Story(
        "tex",
        first=("texlive-base",),
        second=("texlive-lang-german",),
        use="update-language",
        checks={
            # In any order.
            "languages": "grep -v '^%' /var/lib/texmf/tex/generic/config/language.dat | sort",
            "maps": "kpsewhich pdftex.map; kpsewhich language.dat; kpsewhich loadhyph-de-1996.tex",
            "tex": "cd /tmp && tex --interaction=nonstopmode '\\shipout\\hbox{x}\\end' | grep -c Output",
        },
        # With the time in each.
        data=("/var/lib/texmf/*",),
    ),
)
