# A stand-in for the part of FreeBSD's ports framework that our ports use: `bmake -m DIRECTORY stage`.
#
# As Mk/bsd.port.mk, Mk/Uses/python.mk and Mk/bsd.options.mk have it: what the variables mean, what SUB_FILES and
# SUB_LIST do, which targets run in which order. FLAVOR, PREFIX, LOCALBASE, DISTDIR and OPTIONS_UNSET are the caller's.

LOCALBASE?=	/usr/local
PREFIX?=	${LOCALBASE}
FILESDIR=	${.CURDIR}/files
WRKDIR=		${.CURDIR}/work
WRKSRC?=	${WRKDIR}/${DISTNAME}
STAGEDIR=	${WRKDIR}/stage
DISTNAME=	${PORTNAME}-${DISTVERSION}
EXTRACT_SUFX=	.tar.gz
DOCSDIR=	${PREFIX}/share/doc/${PORTNAME}

CAT=		cat
INSTALL_DATA=	install -m 0644
MKDIR=		mkdir -p
SED=		sed
SETENV=		env
TAR=		bsdtar

# Versions in numbers are those of FLAVOR, else of the default version.
FLAVOR?=	py311
PY_FLAVOR=	${FLAVOR}
PYTHON_SUFFIX=	${FLAVOR:S/^py//}
PYTHON_VER=	${PYTHON_SUFFIX:C/^(.)/\1./}
PYTHON_VERSION=	python${PYTHON_VER}
PYTHON_PKGNAMEPREFIX=	${FLAVOR}-
PYTHON_SITELIBDIR=	${LOCALBASE}/lib/${PYTHON_VERSION}/site-packages

# What a port has in its own SUB_LIST comes first, and wins.
SUB_LIST+=	PREFIX=${PREFIX} LOCALBASE=${LOCALBASE} DOCSDIR=${DOCSDIR} \
		PYTHON_SITELIBDIR=${PREFIX}/lib/${PYTHON_VERSION}/site-packages \
		PYTHON_SUFFIX=${PYTHON_SUFFIX} PYTHON_VER=${PYTHON_VER} PYTHON_VERSION=${PYTHON_VERSION}
_SUBSTITUTIONS=	${SUB_LIST:S/$/!g/:S/^/ -e s!%%/:S/=/%%!/}

.PHONY: do-extract post-extract apply-slist do-install stage
_STAGES=	do-extract apply-slist do-install
.if target(post-extract)
_STAGES=	do-extract post-extract apply-slist do-install
.endif
.for option in ${OPTIONS_DEFINE}
.if empty(OPTIONS_UNSET:M${option}) && target(post-install-${option}-on)
_STAGES+=	post-install-${option}-on
.endif
.endfor
stage: ${_STAGES}
.ORDER: ${_STAGES}

do-extract:
	@${MKDIR} ${WRKDIR} ${STAGEDIR}${PREFIX}
.for file in ${DISTFILES:C/:.*//}
	@cd ${WRKDIR} && ${TAR} -xf ${DISTDIR}/${file} --no-same-owner --no-same-permissions
.endfor

apply-slist:
.for file in ${SUB_FILES}
.if !exists(${FILESDIR}/${file}.in)
	@echo "** Missing ${FILESDIR}/${file}.in"; exit 1
.else
	@${SED} ${_SUBSTITUTIONS} -e '/^@comment /d' ${FILESDIR}/${file}.in > ${WRKDIR}/${file}
.endif
.endfor
