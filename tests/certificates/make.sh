#!/bin/sh
# Makes the certificates of test_unreachable anew: keys that guard nothing, valid for a hundred years or no more at all.
set -eu
cd "$(dirname "$0")"
key() { openssl ecparam -name prime256v1 -genkey -noout; }
key > authority.key
openssl req -x509 -new -key authority.key -subj "/CN=allocfail tests" -days 36500 -out authority.pem
leaf() { # file, name, then the arguments that say when it is valid
  file=$1 name=$2; shift 2
  key > leaf.key
  openssl req -new -key leaf.key -subj "/CN=$name" -out leaf.csr
  printf 'subjectAltName=%s\n' "$name" > leaf.ext
  openssl x509 -req -in leaf.csr -CA authority.pem -CAkey authority.key -CAcreateserial -extfile leaf.ext "$@" -out leaf.pem
  cat leaf.key leaf.pem > "$file"
  rm -f leaf.key leaf.csr leaf.ext leaf.pem
}
leaf good.pem IP:127.0.0.1 -days 36500
leaf other.pem DNS:other.example -days 36500
key > leaf.key
openssl req -new -key leaf.key -subj "/CN=IP:127.0.0.1" -out leaf.csr
printf 'subjectAltName=IP:127.0.0.1\n' > leaf.ext
mkdir -p ca && : > ca/index.txt && echo 01 > ca/serial
printf '[ca]\ndefault_ca=c\n[c]\ndatabase=ca/index.txt\nserial=ca/serial\nnew_certs_dir=ca\ndefault_md=sha256\npolicy=p\n[p]\ncommonName=supplied\n' > ca/conf
openssl ca -batch -notext -config ca/conf -cert authority.pem -keyfile authority.key -extfile leaf.ext -in leaf.csr \
  -startdate 20000101000000Z -enddate 20010101000000Z -out leaf.pem
cat leaf.key leaf.pem > expired.pem
rm -rf ca leaf.key leaf.csr leaf.ext leaf.pem authority.key authority.srl
