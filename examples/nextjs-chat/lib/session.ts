// Who is signed in: a cookie that only the server can have written, and no script can read.

import { cookies, headers } from "next/headers";

const COOKIE = "session";
const DAYS = 30;
const MIN_SECRET = 32;

interface Session {
  userId: string;
  /** Milliseconds since 1970. */
  until: number;
}

/** The person whose session this request belongs to. The one place that a userId comes from. */
export async function signedInUser(): Promise<string | undefined> {
  const value = (await cookies()).get(COOKIE)?.value;
  const [payload, signature] = value?.split(".") ?? [];
  if (!payload || !signature) return undefined;
  const isOurs = await crypto.subtle.verify("HMAC", await key(), bytesOf(signature), new TextEncoder().encode(payload));
  if (!isOurs) return undefined;
  const session = JSON.parse(new TextDecoder().decode(bytesOf(payload))) as Session;
  return session.until > Date.now() ? session.userId : undefined;
}

export async function signIn(userId: string): Promise<void> {
  const session: Session = { userId, until: Date.now() + DAYS * 86_400_000 };
  const payload = Buffer.from(JSON.stringify(session)).toString("base64url");
  const signature = await crypto.subtle.sign("HMAC", await key(), new TextEncoder().encode(payload));
  (await cookies()).set(COOKIE, `${payload}.${Buffer.from(signature).toString("base64url")}`, {
    httpOnly: true,
    sameSite: "lax",
    secure: (await headers()).get("x-forwarded-proto") === "https",
    path: "/",
    maxAge: DAYS * 86_400,
  });
}

export async function signOut(): Promise<void> {
  (await cookies()).delete(COOKIE);
}

function key(): Promise<CryptoKey> {
  const secret = process.env.SESSION_SECRET ?? "";
  if (secret.length < MIN_SECRET) {
    throw new Error(`SESSION_SECRET has to have at least ${MIN_SECRET} characters; make one with: openssl rand -hex 32`);
  }
  const bytes = new TextEncoder().encode(secret);
  return crypto.subtle.importKey("raw", bytes, { name: "HMAC", hash: "SHA-256" }, false, ["sign", "verify"]);
}

function bytesOf(base64url: string): Uint8Array<ArrayBuffer> {
  return new Uint8Array(Buffer.from(base64url, "base64url"));
}
