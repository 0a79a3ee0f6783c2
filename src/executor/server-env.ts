/** What plugins inherit of the server's environment: PATH, HOME and LANG, nothing else. */
export function serverEnvOf({ PATH, HOME, LANG }: Readonly<Record<string, string | undefined>>): Record<string, string> {
  return {
    ...(PATH === undefined ? {} : { PATH }),
    ...(HOME === undefined ? {} : { HOME }),
    ...(LANG === undefined ? {} : { LANG }),
  };
}
