// The system's OpenSSL 3, with functions in place of the macros that Swift cannot see.
// SPDX-License-Identifier: Apache-2.0
#ifndef MARSAD_COPENSSL_H
#define MARSAD_COPENSSL_H

#include <openssl/bio.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/params.h>
#include <openssl/rand.h>
#include <openssl/srtp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

/// A drained memory BIO asks for more instead of reading as the end of the stream.
static inline void copenssl_bio_never_ends(BIO *bio) { BIO_set_mem_eof_return(bio, -1); }

static inline long copenssl_ssl_set_mtu(SSL *ssl, long mtu) { return SSL_set_mtu(ssl, mtu); }

static inline EVP_PKEY *copenssl_new_p256_key(void) { return EVP_EC_gen("P-256"); }

/// DTLS 1.2 only, no session cache, ephemeral keys on curves that browsers offer. 1 on success.
static inline int copenssl_ctx_configure(SSL_CTX *ctx, long max_certificate_bytes) {
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_max_cert_list(ctx, max_certificate_bytes);
    // No record of ours is near the usual 16 KiB, which each session would keep a buffer for.
    SSL_CTX_set_max_send_fragment(ctx, 2048);
    return SSL_CTX_set_min_proto_version(ctx, DTLS1_2_VERSION) == 1
        && SSL_CTX_set_max_proto_version(ctx, DTLS1_2_VERSION) == 1
        && SSL_CTX_set1_groups_list(ctx, "X25519:P-256:P-384") == 1;
}

/// Options that are 64-bit macro constants.
static inline void copenssl_ctx_set_options(SSL_CTX *ctx) {
    SSL_CTX_set_options(ctx, SSL_OP_NO_QUERY_MTU | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_TICKET
                                 | SSL_OP_NO_COMPRESSION);
}

/// The reason code of an error of the queue; TLS alerts of the peer are 1000 + their number.
static inline int copenssl_error_reason(unsigned long error) { return ERR_GET_REASON(error); }

/// An HMAC-SHA1 context with its key set, or NULL.
static inline EVP_MAC_CTX *copenssl_new_hmac_sha1(const unsigned char *key, size_t size) {
    EVP_MAC *mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    EVP_MAC_CTX *ctx = mac ? EVP_MAC_CTX_new(mac) : NULL;
    EVP_MAC_free(mac);
    char digest[] = "SHA1";
    OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
                           OSSL_PARAM_construct_end()};
    if (ctx && EVP_MAC_init(ctx, key, size, params) != 1) {
        EVP_MAC_CTX_free(ctx);
        return NULL;
    }
    return ctx;
}

#endif
